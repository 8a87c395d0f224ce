-- An image was purged. The case goes on without it, and is open no more when all that is left was closed.
-- KEYS members, revisions, closed, open cases   ARGV id, case
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  if redis.call('SISMEMBER', KEYS[3], id) == 0 then return 0 end
end
redis.call('ZREM', KEYS[4], ARGV[2])
return 1
