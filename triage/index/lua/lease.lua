-- waiting -> leased, best place first, over the lanes that this reviewer may be given.
-- ARGV now, reviewer, count, lease ms, nonce, most to pass over in a mixed lane, where to read on in those, most of one case
--      or '', number of sites, those sites (none: all), then ids to choose from instead...
-- Gives now, what was leased as {id, fence, body or '', retry or ''}, and where to read on in mixed lanes, -1: nowhere.
local me, count, most, start = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
local found, read_on = {}, false
local only_sites = tonumber(ARGV[9])
local allowed = {}
for at = 10, 9 + only_sites do allowed[ARGV[at]] = true end

local function not_for_me(x) return x and string.find(x, '\0' .. me .. '\0', 1, true) end

local function take(id)
  local item = fields(id, 's', 'x', 'i', 'l', 'c')
  if item.s ~= 'waiting' or not_for_me(item.x) or (only_sites > 0 and not allowed[item.i]) then return nil end
  local fence = redis.call('HINCRBY', item_key(id), 'f', 1)
  redis.call('HSET', item_key(id), 's', 'leased', 't', fence .. '~' .. ARGV[5], 'w', me, 'e', now)
  unwait(id, item.i, item.l)
  redis.call('ZADD', Q .. 'leases', now + ARGV[4], id)
  found[#found + 1] = {id, fence, redis.call('GET', Q .. 'body:' .. id) or '', redis.call('GET', Q .. 'retry:' .. id) or ''}
  return item
end

local function look(head)
  while true do
    local first = redis.call('ZRANGE', head.key, head.at, head.at, 'WITHSCORES')
    head.id, head.place = first[1], tonumber(first[2])
    if not head.id or not head.mixed then return end
    if not not_for_me(redis.call('HGET', item_key(head.id), 'x')) then return end
    head.at = head.at + 1
    if head.at >= start + most then
      head.id, read_on = nil, true
      return
    end
  end
end

if #ARGV > 9 + only_sites then
  for at = 10 + only_sites, #ARGV do
    if #found < count then take(ARGV[at]) end
  end
  return {now, found, -1}
end

local heads = {}
for _, set in ipairs({'sites', 'lanes'}) do
  for _, lane in ipairs(redis.call('SMEMBERS', Q .. set)) do
    local site, rest = string.match(lane, '^(.-)(%z.*)$')
    local mixed = rest == '\0*'
    if (only_sites == 0 or allowed[site]) and (mixed or not not_for_me(rest)) then
      local head = {key = lane_key(lane), mixed = mixed, at = mixed and start or 0}
      look(head)
      if head.id then heads[#heads + 1] = head end
    end
  end
end
while #found < count do
  local best
  for _, head in ipairs(heads) do
    if head.id and (not best or head.place < best.place or (head.place == best.place and head.id < best.id)) then
      best = head
    end
  end
  if not best then break end
  local item = take(best.id)
  if ARGV[8] ~= '' and item then
    if item.c then
      local prefix = item.i .. '/' .. item.c .. '\0'
      local members = redis.call('ZRANGEBYLEX', Q .. 'by_case', '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1000)
      for _, member in ipairs(members) do
        local id = string.sub(member, #prefix + 1)
        if #found < tonumber(ARGV[8]) and redis.call('HGET', item_key(id), 'c') == item.c then take(id) end
      end
    end
    break
  end
  if not item then best.at = best.at + 1 end  -- cannot be: what lies in a lane waits. It must not stop everybody, either
  look(best)
end
return {now, found, (read_on and #found == 0) and start + most or -1}
