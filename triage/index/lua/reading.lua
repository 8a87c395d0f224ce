-- What a reading said of a draw: the first reading is the earliest that claims to be one, and the second the earliest by anybody
-- else. One prediction may have two chains of readings, when a late image opens its case again after it was audited, and nobody
-- doubts twice. Readings may come in any order, before their draw, and after everything was taken: then they are kept for a while
-- only.
-- KEYS draw, classes to look at
-- ARGV number, at, what it said, seconds to keep what belongs to no draw in line, reviewer, classes...
local function put(number, reviewer, at, said)
  local name = 'by:' .. number .. ':' .. reviewer
  local before = redis.call('HGET', KEYS[1], name)
  if not before or tonumber(at) < tonumber(string.match(before, '^%d+')) then redis.call('HSET', KEYS[1], name, at .. ' ' .. said) end
end

for _, number in ipairs({'1', '2'}) do  -- of a version that did not know who read
  local old = redis.call('HMGET', KEYS[1], 'at:' .. number, 'said:' .. number)
  if old[1] then
    put(number, '', old[1], old[2])
    redis.call('HDEL', KEYS[1], 'at:' .. number)
  end
end
put(ARGV[1], ARGV[5], ARGV[2], ARGV[3])

local fields, first = redis.call('HGETALL', KEYS[1]), nil
for _, number in ipairs({'1', '2'}) do
  local best
  for at = 1, #fields, 2 do
    local reviewer = string.match(fields[at], '^by:' .. number .. ':(.*)$')
    if reviewer and (reviewer == '' or reviewer ~= first) then
      local digits, said = string.match(fields[at + 1], '^(%d+) (.*)$')
      local when = tonumber(digits)
      if not best or when < best.when or (when == best.when and reviewer < best.reviewer) then
        best = {when = when, reviewer = reviewer, said = said}
      end
    end
  end
  if best then
    redis.call('HSET', KEYS[1], 'said:' .. number, best.said)
  else
    redis.call('HDEL', KEYS[1], 'said:' .. number)
  end
  if number == '1' and best then first = best.reviewer end
end

if not redis.call('HGET', KEYS[1], 'open') then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
redis.call('SADD', KEYS[2], unpack(ARGV, 6))
return 1
