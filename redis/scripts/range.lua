-- A page of live entries of one shard in the order of its index: FindStaleInFlight (clause 3.7) and List.
-- KEYS: the index.
-- ARGV: clock; kind of members, 'f' or 'x'; score and member to go on behind ('' and '': from the first); score to end
-- before (or empty); most entries.
-- Answers whether there may be more (1, 0), the score and member of the last that was looked at, and then key and record of
-- each, all of them strings behind their length.
local index, kind, from, behind, before, most = KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local now = clock(ARGV[1])
local LOOKED, BYTES = 1000, 4194304 -- bounds of one call, beside most

-- Lua compares strings by the server's locale, the index by their bytes.
local function follows(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local to = before == '' and '+inf' or '(' .. before
local start = from
if kind == 'x' and (from == '' or tonumber(from) <= now) then
  start = '(' .. digits(now) -- up to here they are dead
elseif from == '' then
  start = '-inf'
end
local function framed(s)
  return struct.pack('>I4c0', #s, s)
end
local found, count, size, more = {}, 0, 0, true
local offset, looked = 0, 0
local score, member = from, behind
while more and count < most and looked < LOOKED and size < BYTES do
  local page = redis.call('ZRANGEBYSCORE', index, start, to, 'WITHSCORES', 'LIMIT', offset, 100)
  more, offset = #page == 200, offset + 100
  for i = 1, #page, 2 do
    if page[i + 1] ~= from or follows(page[i], behind) then
      if count == most or size >= BYTES then
        more = true
        break
      end
      looked, member, score = looked + 1, page[i], page[i + 1]
      local key = string.sub(member, 2)
      local record = redis.call('GET', index .. key)
      if record then
        local status, _, _, _, expires = struct.unpack(HEAD, record)
        if now < expires and (kind == 'x' or status == IN_FLIGHT) then
          count, size = count + 1, size + #record
          found[#found + 1] = framed(key)
          found[#found + 1] = framed(record)
        end
      end
    end
  end
end
return struct.pack('>B', more and 1 or 0) .. framed(score) .. framed(member) .. table.concat(found)
