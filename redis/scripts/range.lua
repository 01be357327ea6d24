-- A page of live entries of one shard in the order of an index: FindStaleInFlight (clause 3.7) and List.
-- KEYS: the index.
-- ARGV: clock; name of entries before their key; status that they have; score and member to go on behind ('' and '': from
-- the first); score to end before (or empty); most entries.
-- Answers whether there may be more (1, 0), the score and member of the last that was looked at, and then key and record of
-- each, all of them strings behind their length.
local base, kind, from, behind, most = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[7])
local LOOKED = 1000 -- bound of one call, beside most and BYTES
local to = ARGV[6] == '' and '+inf' or '(' .. ARGV[6]
local start = from == '' and '-inf' or from
if kind == DONE and (from == '' or tonumber(from) <= now) then
  start = '(' .. string.format('%.0f', now) -- up to here they are dead
end
local function framed(s)
  return pack('>I4c0', #s, s)
end
local found, count, size, looked = {}, 0, 0, 0
local score, member = from, behind
local more = walk(KEYS[1], start, from, behind, to, function(key, at)
  if count == most or size >= BYTES or looked == LOOKED then
    return false
  end
  looked, member, score = looked + 1, key, at
  local record = call('GET', base .. key)
  if record then
    local status, _, _, touched, ttl = parse(HEAD, record)
    if now < touched + ttl and status == kind then
      count, size = count + 1, size + #record
      found[#found + 1] = framed(key)
      found[#found + 1] = framed(record)
    end
  end
  return true
end)
return (more and '1' or '0') .. framed(score) .. framed(member) .. table.concat(found)
