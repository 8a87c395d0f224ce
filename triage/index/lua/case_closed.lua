-- A case was closed with these members, because the journal says so. It stays open for members that came later.
-- KEYS members, revisions, closed, open cases   ARGV case, retention s, ids...
for i = 3, #ARGV do redis.call('SADD', KEYS[3], ARGV[i]) end
redis.call('EXPIRE', KEYS[3], ARGV[2])
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  if redis.call('SISMEMBER', KEYS[3], id) == 0 then return 0 end
end
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
