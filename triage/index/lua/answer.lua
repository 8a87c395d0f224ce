-- leased -> answering, holding the verdict. The same token again gets the first payload back, and the state it is in.
-- Of an index that is not whole nobody can tell whose the lease is: its item may be answered already.
-- ARGV now, id, token, payload, hold ms, the mark of a whole index or ''
if ARGV[6] ~= '' and redis.call('GET', Q .. 'whole') ~= ARGV[6] then return {'lacking', '', ''} end
local item = fields(ARGV[2], 's', 't', 'a', 'y')
if item.a == ARGV[3] then return {'replay', item.y or '', item.s} end
if item.s ~= 'leased' or item.t ~= ARGV[3] then return {'lost', '', item.s or 'gone'} end
redis.call('HSET', item_key(ARGV[2]), 's', 'answering', 'a', ARGV[3], 'y', ARGV[4])
redis.call('ZADD', Q .. 'leases', now + ARGV[5], ARGV[2])
return {'accepted', '', 'answering'}
