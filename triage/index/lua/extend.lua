-- leased -> leased, for longer. Returns the new expiry in ms, or the state that stands against it.
-- KEYS item, leases   ARGV id, token, lease ms, when the image was shown or ''
local item = redis.call('HMGET', KEYS[1], 'state', 'token')
if item[1] ~= 'leased' or item[2] ~= ARGV[2] then return item[1] or 'gone' end
if ARGV[4] ~= '' then redis.call('HSETNX', KEYS[1], 'shown', ARGV[4]) end
local clock = redis.call('TIME')
local expiry = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[3]
redis.call('ZADD', KEYS[2], expiry, ARGV[1])
return expiry
