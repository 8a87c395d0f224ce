-- A prediction that is read blind joins the line of each class that it is evidence for, once: not while it waits there, nor after
-- it was taken, nor when it is older than what is remembered as taken.
-- KEYS draw, pending classes, then for each class: line, taken, evidence
-- ARGV prediction, received at, case, then for each class: its name among the pending, label, rule, 1 when it was suspended
local joined = 0
for class = 1, (#ARGV - 3) / 4 do
  local line, taken, evidence = KEYS[3 * class], KEYS[3 * class + 1], KEYS[3 * class + 2]
  local name, label, rule, suspended = unpack(ARGV, 4 * class, 4 * class + 3)
  local floor = redis.call('HGET', evidence, 'floor')
  if not (floor and tonumber(ARGV[2]) <= tonumber(floor))
      and not redis.call('ZSCORE', taken, ARGV[1]) and not redis.call('ZSCORE', line, ARGV[1]) then
    redis.call('ZADD', line, ARGV[2], ARGV[1])
    redis.call('SADD', KEYS[2], name)
    redis.call('HSET', KEYS[1], 'rule:' .. label, rule, 'suspended:' .. label, suspended)
    joined = joined + 1
  end
end
if joined > 0 then
  redis.call('HINCRBY', KEYS[1], 'open', joined)
  redis.call('HSET', KEYS[1], 'case', ARGV[3])
  redis.call('PERSIST', KEYS[1])
end
return joined
