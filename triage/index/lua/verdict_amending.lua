-- Amendments whose gateway went silent before they were journaled, for the caller to roll forward.
-- KEYS amending   ARGV verdict key prefix, limit, ms to roll them forward
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = {}
for _, item in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local amendment = redis.call('HGET', ARGV[1] .. item, 'amendment')
  if amendment then
    redis.call('ZADD', KEYS[1], now + ARGV[3], item)
    found[#found + 1] = amendment
  else
    redis.call('ZREM', KEYS[1], item)
  end
end
return found
