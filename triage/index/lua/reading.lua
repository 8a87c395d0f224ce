-- What a reading said of a draw; the earliest of two that claim to be the same reading. It may come before its draw does, and
-- after everything was taken: then it is kept for a while only.
-- KEYS draw, classes to look at   ARGV number, at, what it said, seconds to keep what belongs to no draw in line, classes...
local at = redis.call('HMGET', KEYS[1], 'at:' .. ARGV[1], 'open')
if not at[1] or tonumber(ARGV[2]) < tonumber(at[1]) then
  redis.call('HSET', KEYS[1], 'at:' .. ARGV[1], ARGV[2], 'said:' .. ARGV[1], ARGV[3])
end
if not at[2] then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
redis.call('SADD', KEYS[2], unpack(ARGV, 5))
return 1
