-- A gateway says that it lives, and which index holds all of its journal ('': it does not know). Returns the gateways that live
-- and have not said so of the same index.
-- KEYS nodes, seen   ARGV node, index or '', ms for which one that is silent counts as alive, the index that is asked about
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 100 * ARGV[3])) do
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
local missing = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], now - ARGV[3], '+inf')) do
  if redis.call('HGET', KEYS[1], node) ~= ARGV[4] then missing[#missing + 1] = node end
end
return missing
