-- The journal says that a verdict stands, or an amendment of it: it is held until it is due. An older edition changes nothing, and
-- of two people who answered one item (a lost index asked the second) the one that is known first stays.
-- KEYS verdict, held, amending
-- ARGV item, verdict, revision, payload, due ms, hold ms, retention s, 1 to let it go at once if it is due, ms to do so
-- Returns 0: known already. 1: held. 2: it is due, and the caller lets it go.
local known = redis.call('HMGET', KEYS[1], 'id', 'stands')
if known[1] and (known[1] ~= ARGV[2] or tonumber(known[2]) >= tonumber(ARGV[3])) then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'stands', ARGV[3], 'payload', ARGV[4])
redis.call('HDEL', KEYS[1], 'leaving', 'amendment')
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('ZREM', KEYS[3], ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local due = math.min(tonumber(ARGV[5]), now + ARGV[6])  -- a gateway's clock may be ahead
if ARGV[8] == '1' and due <= now then
  redis.call('HSET', KEYS[1], 'leaving', ARGV[3])
  redis.call('ZADD', KEYS[2], now + ARGV[9], ARGV[1])
  return 2
end
redis.call('ZADD', KEYS[2], due, ARGV[1])
return 1
