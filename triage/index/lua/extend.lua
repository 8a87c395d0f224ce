-- leased -> leased, for longer. Returns the new expiry in ms, or the state that stands against it.
-- ARGV now, id, token, lease ms, when the image was shown or ''
local item = fields(ARGV[2], 's', 't')
if item.s ~= 'leased' or item.t ~= ARGV[3] then return item.s or 'gone' end
if ARGV[5] ~= '' then redis.call('HSETNX', item_key(ARGV[2]), 'h', ARGV[5]) end
local expiry = now + ARGV[4]
redis.call('ZADD', Q .. 'leases', expiry, ARGV[2])
return expiry
