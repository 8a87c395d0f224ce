-- What GET shows. A later revision replaces an earlier one and never the other way round; a final replaces one of lower rank,
-- so that a person's stands over the model's in whatever order the two arrive.
-- Whoever waits for a final is told when one comes to a prediction that is there already.
-- KEYS view   ARGV view or '', blob key, revision, final or '', rank, retention s or '', caller or ''
local stored = redis.call('HMGET', KEYS[1], 'revision', 'rank')
if ARGV[1] ~= '' and tonumber(ARGV[3]) >= tonumber(stored[1] or 0) then
  redis.call('HSET', KEYS[1], 'view', ARGV[1], 'blob', ARGV[2], 'revision', ARGV[3], 'caller', ARGV[7])
end
if ARGV[4] ~= '' and tonumber(ARGV[5]) > tonumber(stored[2] or 0) then
  redis.call('HSET', KEYS[1], 'final', ARGV[4], 'rank', ARGV[5])
  if stored[1] then redis.call('PUBLISH', 'sr:finals', KEYS[1]) end
end
if ARGV[6] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[6]) end
return 1
