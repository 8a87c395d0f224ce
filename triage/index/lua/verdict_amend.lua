-- Holds an amendment until it is journaled, if the edition that it takes the place of still stands. Whether anybody may have seen
-- that one is decided here, since it may leave at any moment.
-- KEYS verdict, held, amending, mark of a whole index
-- ARGV item, verdict, revision that stands, amendment if that is unseen, amendment if it was seen or '', ms to roll it forward,
--      the mark or ''
if ARGV[7] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[7] then return {'lacking', ''} end
local verdict = redis.call('HMGET', KEYS[1], 'id', 'stands', 'payload', 'amendment', 'leaving')
if verdict[1] ~= ARGV[2] then return {'gone', ''} end
if verdict[4] then return {'pending', verdict[4]} end
if verdict[2] ~= ARGV[3] then return {'stale', verdict[3]} end
local seen = verdict[5] == verdict[2] or not redis.call('ZSCORE', KEYS[2], ARGV[1])
local amendment = seen and ARGV[5] or ARGV[4]
if amendment == '' then return {'late', verdict[3]} end
redis.call('HSET', KEYS[1], 'amendment', amendment)
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[3], clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[6], ARGV[1])
return {'accepted', amendment}
