-- Takes draws out of a class's line and puts its new evidence in place of that which they were judged by, or does nothing: another
-- gateway was faster.
-- KEYS evidence, line, taken, cases that counted, pending classes, then the draw of each prediction
-- ARGV version that was read or '', new version, new evidence, the class's name among the pending, draws and cases to remember,
--      1 to keep the class among the pending though nobody waits, then for each: prediction, the case that it counts for or ''
local version = redis.call('HGET', KEYS[1], 'version')
if (version or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'body', ARGV[3])
for i = 1, #KEYS - 5 do
  local prediction, case, draw = ARGV[2 * i + 5], ARGV[2 * i + 6], KEYS[i + 5]
  local at = redis.call('ZSCORE', KEYS[2], prediction)
  if at then
    redis.call('ZREM', KEYS[2], prediction)
    redis.call('ZADD', KEYS[3], at, prediction)
    if case ~= '' then redis.call('ZADD', KEYS[4], at, case) end
    if redis.call('HINCRBY', draw, 'open', -1) <= 0 then redis.call('DEL', draw) end
  end
end
local cases = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[5])
if cases > 0 then redis.call('ZREMRANGEBYRANK', KEYS[4], 0, cases - 1) end
local surplus = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[5])
if surplus > 0 then
  local last = redis.call('ZRANGE', KEYS[3], surplus - 1, surplus - 1, 'WITHSCORES')
  redis.call('HSET', KEYS[1], 'floor', last[2])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, surplus - 1)
end
if ARGV[6] == '1' then
  redis.call('SADD', KEYS[5], ARGV[4])
elseif redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[5], ARGV[4])
end
return 1
