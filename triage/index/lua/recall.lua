-- Tells callers of an answer in doubt, once for each recall.
-- KEYS predictions told of, outcomes   ARGV prediction, outcome, retention s
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[3])
local clock = redis.call('TIME')
redis.call('XADD', KEYS[2], 'MINID', '~', (clock[1] - ARGV[3]) * 1000, '*', 'outcome', ARGV[2])
return 1
