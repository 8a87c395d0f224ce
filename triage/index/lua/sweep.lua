-- leased -> waiting where the lease expired; answers whose gateway went silent are handed back to be rolled forward.
-- KEYS leases, waiting   ARGV item key prefix, limit, hold ms
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local expired, held = 0, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local key = ARGV[1] .. id
  local item = redis.call('HMGET', key, 'state', 'score', 'payload')
  if item[1] == 'leased' then
    redis.call('HSET', key, 'state', 'waiting')
    redis.call('HDEL', key, 'token', 'reviewer', 'leased', 'shown')
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], item[2], id)
    expired = expired + 1
  elseif item[1] == 'answering' then
    redis.call('ZADD', KEYS[1], now + ARGV[3], id)
    held[#held + 1] = {id, item[3]}
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return {expired, held}
