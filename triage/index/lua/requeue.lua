-- dead -> waiting, at its old place and with all attempts, because the journal says that somebody put it back in this round.
-- ARGV now, id, round, seconds to remember it of an item that is not known
local id, round = ARGV[2], tonumber(ARGV[3])
local item = fields(id, 's', 'p', 'i', 'x', 'd', 'u')
if item.s and item.s ~= 'waiting' and item.s ~= 'leased' and item.s ~= 'answering' and item.s ~= 'dead' then return 0 end
if round > tonumber(item.u or 0) then redis.call('HSET', item_key(id), 'u', round) end
if not item.s then
  redis.call('EXPIRE', item_key(id), ARGV[4])
  return 0
end
if item.s ~= 'dead' or round < tonumber(item.d) then return 0 end
redis.call('ZREM', Q .. 'dead', id)
redis.call('HDEL', item_key(id), 'n')
wait(id, item.p, item.i, item.x)
return 1
