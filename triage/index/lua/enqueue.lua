-- nothing -> waiting. An item that is known in any state stays as it is, so that the journal can be replayed; only a later
-- revision, decided after the model came back, replaces what reviewers see and its place.
-- KEYS waiting, item, retry   ARGV id, score, body, retry record or '', revision, who is not given it as skips are kept or ''
local item = redis.call('HMGET', KEYS[2], 'state', 'revision')
if item[1] and (not item[2] or tonumber(ARGV[5]) <= tonumber(item[2])) then return 0 end
redis.call('HSET', KEYS[2], 'body', ARGV[3], 'revision', ARGV[5], 'score', ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'retry', ARGV[4])
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('HDEL', KEYS[2], 'retry')
  redis.call('SREM', KEYS[3], ARGV[1])
end
if item[1] then
  redis.call('ZADD', KEYS[1], 'XX', ARGV[2], ARGV[1])
  return 0
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], 'skipped', ARGV[6]) end
redis.call('HSET', KEYS[2], 'state', 'waiting', 'fence', 0)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
