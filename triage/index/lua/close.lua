-- any state -> resolved or withdrawn, because the journal says so; publishes once, if it is to. A first answer is never
-- overwritten.
-- KEYS item, leases, waiting, retry, outcomes   ARGV id, terminal state, outcome or '', retention s, payload or ''
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'resolved' or state == ARGV[2] then return 0 end
if state == 'answering' and ARGV[2] == 'withdrawn' then return 0 end  -- a person answered first; the sweeper sees to it
redis.call('HSET', KEYS[1], 'state', ARGV[2])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'payload', ARGV[5]) end
redis.call('HDEL', KEYS[1], 'body', 'token', 'score', 'skipped', 'retry', 'leased', 'shown', 'fence', 'revision')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
if ARGV[3] == '' then return 1 end
local clock = redis.call('TIME')
redis.call('XADD', KEYS[5], 'MINID', '~', (clock[1] - ARGV[4]) * 1000, '*', 'outcome', ARGV[3])
return 1
