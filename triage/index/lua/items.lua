-- What every script about items begins with. KEYS[1] is what all keys of the queue begin with, `sr:{queue}:`; ARGV[1] is the time
-- in ms, '' for the server's own.
--
--   item:<id>   hash, small enough to be a listpack while the item waits (Redis keeps it so below 64 bytes a field):
--     s state          p place               v revision          k 'c' somebody waits for it, 'e' evidence
--     i site           c case, if any        r reasons, ' ' between them
--     x who is not given it, as \0ada\0bob\0                l the lane, where it is not the site's own
--     f leases so far  t token of the lease  w who has it        e since when, ms    h first shown, us
--     a token of the answer                  y the answer        n expiries          d u  rounds of dying and of requeueing
--     m revision of the answer with which the model took it back
--   body:<id>   string: what a reviewer is told, where the prediction's view does not tell it all
--   retry:<id>  string: the record, where the returning model may take the item back
--   lane:<site>\0<who>  sorted set, item -> place: what waits, apart by whom it is not given to. A reviewer passes over whole
--                       lanes and never over items one by one; only lanes named `*` mix, when there are too many kinds.
--   sites, lanes  sets: the lanes in which something waits, of everybody and of everybody but some
--   leases      sorted set, item -> expiry     dead    sorted set, item -> when it died
--   due, kept   sorted sets, item -> received: unanswered ones that somebody waits for, and unanswered evidence
--   by_case     sorted set, `<site>/<case>\0<id>`, all at 0: unanswered ones of a case lie together
--   reasons     hash: reason -> how many unanswered ones have it
--   ending      hash: item -> 'dead <round>' or 'unresolved', of which the journal does not know yet
local Q, LANES = KEYS[1], 256
local now = tonumber(ARGV[1])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end

local function item_key(id) return Q .. 'item:' .. id end

local function lane_key(lane) return Q .. 'lane:' .. lane end

-- Lets an item wait. `x` as above or false.
local function wait(id, place, site, x)
  local lane = site .. '\0'
  if not x then
    redis.call('SADD', Q .. 'sites', lane)
    redis.call('HSET', item_key(id), 's', 'waiting')
    redis.call('HDEL', item_key(id), 'l')
  else
    lane = site .. x
    if redis.call('SISMEMBER', Q .. 'lanes', lane) == 0 then
      if redis.call('SCARD', Q .. 'lanes') >= LANES then lane = site .. '\0*' end
      redis.call('SADD', Q .. 'lanes', lane)
    end
    redis.call('HSET', item_key(id), 's', 'waiting', 'l', lane)
  end
  redis.call('ZADD', lane_key(lane), place, id)
end

-- Takes an item that waits out of its lane. `l` as above or false.
local function unwait(id, site, l)
  local lane = l or site .. '\0'
  redis.call('ZREM', lane_key(lane), id)
  if redis.call('EXISTS', lane_key(lane)) == 0 then redis.call('SREM', Q .. (l and 'lanes' or 'sites'), lane) end
end

-- An item that was leased waits again, at its old place.
local function give_back(id, item)
  redis.call('HDEL', item_key(id), 't', 'w', 'e', 'h')
  redis.call('ZREM', Q .. 'leases', id)
  wait(id, item.p, item.i, item.x)
end

local function fields(id, ...)
  local names, found = {...}, {}
  for at, value in ipairs(redis.call('HMGET', item_key(id), ...)) do found[names[at]] = value end
  return found
end

local function count_reasons(reasons, by)
  for reason in string.gmatch(reasons or '', '%S+') do
    if redis.call('HINCRBY', Q .. 'reasons', reason, by) <= 0 then redis.call('HDEL', Q .. 'reasons', reason) end
  end
end

-- Puts an item that nobody may have any more out of all that is unanswered; what is known of it stays.
local function retire(id, item)
  if item.s == 'waiting' then unwait(id, item.i, item.l) end
  redis.call('ZREM', Q .. 'leases', id)
  redis.call('ZREM', Q .. 'dead', id)
  redis.call('ZREM', Q .. (item.k == 'e' and 'kept' or 'due'), id)
  redis.call('SREM', Q .. 'retry', id)
  if item.c then redis.call('ZREM', Q .. 'by_case', item.i .. '/' .. item.c .. '\0' .. id) end
  count_reasons(item.r, -1)
end

