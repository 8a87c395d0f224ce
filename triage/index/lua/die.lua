-- waiting or leased -> dead, because the journal says that it died in this round; not if it was requeued since. May come before
-- the item does, which then is born dead.
-- ARGV now, id, round, seconds to remember it of an item that is not known
local id, round = ARGV[2], tonumber(ARGV[3])
local item = fields(id, 's', 'l', 'i', 'd', 'u')
if redis.call('HGET', Q .. 'ending', id) == 'dead ' .. round then redis.call('HDEL', Q .. 'ending', id) end
if item.s and item.s ~= 'waiting' and item.s ~= 'leased' and item.s ~= 'answering' and item.s ~= 'dead' then return 0 end
if round > tonumber(item.d or 0) then redis.call('HSET', item_key(id), 'd', round) end
if not item.s then
  redis.call('EXPIRE', item_key(id), ARGV[4])
  return 0
end
if round <= tonumber(item.u or 0) or (item.s ~= 'waiting' and item.s ~= 'leased') then return 0 end
if item.s == 'waiting' then unwait(id, item.i, item.l) end
redis.call('ZREM', Q .. 'leases', id)
redis.call('HSET', item_key(id), 's', 'dead')
redis.call('HDEL', item_key(id), 'l', 't', 'w', 'e', 'h')
redis.call('ZADD', Q .. 'dead', now, id)
return 1
