-- What follows from a verdict is done: it is held no longer, and its outcome, if it has one, is published once for each revision.
-- KEYS verdict, held, outcomes   ARGV item, revision, outcome or '', retention s
local verdict = redis.call('HMGET', KEYS[1], 'stands', 'told')
local revision = tonumber(ARGV[2])
if not verdict[1] or tonumber(verdict[1]) ~= revision then return 0 end  -- it was amended, or the index was lost
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[3] == '' or tonumber(verdict[2] or 0) >= revision then return 0 end
redis.call('HSET', KEYS[1], 'told', revision)
local clock = redis.call('TIME')
redis.call('XADD', KEYS[3], 'MINID', '~', (clock[1] - ARGV[4]) * 1000, '*', 'outcome', ARGV[3])
return 1
