-- leased -> answering, holding the verdict. The same token again gets the first payload back, and the state it is in.
-- KEYS item, leases   ARGV id, token, payload, hold ms
local item = redis.call('HMGET', KEYS[1], 'state', 'token', 'answered', 'payload')
if item[3] == ARGV[2] then return {'replay', item[4] or '', item[1]} end
if item[1] ~= 'leased' or item[2] ~= ARGV[2] then return {'lost', '', item[1] or 'gone'} end
redis.call('HSET', KEYS[1], 'state', 'answering', 'answered', ARGV[2], 'payload', ARGV[3])
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[2], clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[4], ARGV[1])
return {'accepted', '', 'answering'}
