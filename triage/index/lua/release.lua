-- leased -> waiting, at its old place. A skip remembers who skipped. Returns 1, or the state that stands against it.
-- KEYS item, leases, waiting   ARGV id, token, reviewer who skips or ''
local item = redis.call('HMGET', KEYS[1], 'state', 'token', 'score', 'skipped')
if item[1] ~= 'leased' or item[2] ~= ARGV[2] then return item[1] or 'gone' end
redis.call('HSET', KEYS[1], 'state', 'waiting')
redis.call('HDEL', KEYS[1], 'token', 'reviewer', 'leased', 'shown')
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'skipped', (item[4] or '\0') .. ARGV[3] .. '\0')
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], item[3], ARGV[1])
return 1
