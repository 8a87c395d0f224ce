-- nothing -> waiting. An item that is known in any state stays as it is, so that the journal can be replayed; only a later
-- revision, decided after the model came back, replaces what reviewers see.
-- KEYS waiting, item, retry   ARGV id, score, body, retry record or '', revision
if redis.call('EXISTS', KEYS[2]) == 1 then
  if tonumber(ARGV[5]) > 1 and redis.call('HDEL', KEYS[2], 'retry') == 1 then
    redis.call('HSET', KEYS[2], 'body', ARGV[3])
    redis.call('SREM', KEYS[3], ARGV[1])
  end
  return 0
end
redis.call('HSET', KEYS[2], 'state', 'waiting', 'score', ARGV[2], 'body', ARGV[3], 'fence', 0)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'retry', ARGV[4])
  redis.call('SADD', KEYS[3], ARGV[1])
end
return 1
