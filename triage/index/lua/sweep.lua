-- leased -> waiting where the lease expired, or dead when it did so too often; unanswered -> unresolved where the deadline passed.
-- Of these two the journal is told next, and until it was they are given out again; so are answers whose gateway went silent.
-- ARGV now, limit, hold ms, expiries allowed, deadline ms or ''
-- Gives how many expired, {id, answer} to roll forward, {id, what, ...} to journal.
local limit = tonumber(ARGV[2])
local expired, held, ending = 0, {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', Q .. 'leases', '-inf', now, 'LIMIT', 0, limit)) do
  local item = fields(id, 's', 'p', 'i', 'x', 'y', 'u')
  if item.s == 'leased' then
    expired = expired + 1
    give_back(id, item)
    if redis.call('HINCRBY', item_key(id), 'n', 1) >= tonumber(ARGV[4]) then
      local round = tonumber(item.u or 0) + 1
      unwait(id, item.i, redis.call('HGET', item_key(id), 'l'))
      redis.call('HSET', item_key(id), 's', 'dead', 'd', round)
      redis.call('HDEL', item_key(id), 'l')
      redis.call('ZADD', Q .. 'dead', now, id)
      redis.call('HSET', Q .. 'ending', id, 'dead ' .. round)
    end
  elseif item.s == 'answering' then
    redis.call('ZADD', Q .. 'leases', now + ARGV[3], id)
    held[#held + 1] = {id, item.y}
  else
    redis.call('ZREM', Q .. 'leases', id)
  end
end
if ARGV[5] ~= '' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', Q .. 'due', '-inf', now - ARGV[5], 'LIMIT', 0, limit)) do
    local item = fields(id, 's', 'l', 'i', 'k', 'c', 'r')
    if item.s ~= 'answering' then
      retire(id, item)
      redis.call('HSET', item_key(id), 's', 'unresolved')
      redis.call('HDEL', item_key(id), 'l', 't', 'v')
      redis.call('HSET', Q .. 'ending', id, 'unresolved')
    end
  end
end
if redis.call('EXISTS', Q .. 'ending') == 1 then
  local page = redis.call('HRANDFIELD', Q .. 'ending', limit, 'WITHVALUES')
  for at = 1, #page, 2 do
    ending[#ending + 1] = {page[at], page[at + 1], redis.call('GET', Q .. 'body:' .. page[at]) or ''}
  end
end
return {expired, held, ending}
