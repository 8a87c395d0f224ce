-- An image joins its case, or its newer revision takes the older one's place. The case is open while one of its members was not
-- closed with it, in whatever order images and closings arrive. Returns 1 when the case is open afterwards.
-- KEYS members, revisions, closed, open cases   ARGV id, revision, record, case, ms at which it closes by itself, retention s
local known = redis.call('HGET', KEYS[2], ARGV[1])
if not known or tonumber(ARGV[2]) > tonumber(known) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[6]) end
if known or redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then return redis.call('ZSCORE', KEYS[4], ARGV[4]) and 1 or 0 end
redis.call('ZADD', KEYS[4], 'GT', ARGV[5], ARGV[4])
return 1
