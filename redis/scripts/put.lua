-- PutIfAbsent (clause 3.1) of entries that have status and ttl in common.
-- KEYS: flights, results, entries.
-- ARGV: clock, status (a byte), ttl (us), life of a key (ms), mark of being watched, command to tell by, dead to drop, turn;
-- then of each entry its record from the ttl on.
-- Answers now, and for each entry YES, LATER, KEPT, OWN, FAILED or AGAIN.
local status, ttl, life = ARGV[2], ARGV[3], ARGV[4]
local from = #KEYS[1] + 1
local watched = ARGV[5] ~= '' and pcall_('EXISTS', ARGV[5]) ~= 0 -- also where the server does not let us ask
local flight = status == '\1'
local score = string.format('%.0f', flight and now or now + ttl)
local stamp = pack('>I8', now)
local head = status .. '\0\0\0\1' .. stamp .. stamp
local answers, size = {stamp}, 0
local index, n = {flight and KEYS[1] or KEYS[2]}, 1
for i = 3, #KEYS do
  local entry, rest = KEYS[i], ARGV[i + 6]
  local at, answer = score, YES
  local set = pcall_('SET', entry, head .. rest, 'NX', 'PX', life)
  if not set then
    at = nil
    local old = size < BYTES and pcall_('GET', entry)
    if not old then
      answer = AGAIN
    elseif type(old) == 'table' then
      answer = FAILED .. pack('>I4c0', #old.err, old.err)
    else
      local was, _, made, touched, span, by = parse(HEAD, old)
      if now < touched + span then
        local _, holder = parse('>I8Bc0', rest)
        local own = holder ~= '' and by == holder and was == (flight and IN_FLIGHT or DONE)
        answer = (own and OWN or KEPT) .. pack('>I4c0', #old, old)
        size = size + #old
      else
        local created = math.max(now, made + 1)
        local first = pack('>I4I8', 1, created)
        call('SET', entry, status .. first .. sub(first, 5) .. rest, 'PX', life)
        call('ZREM', was == IN_FLIGHT and KEYS[1] or KEYS[2], sub(entry, from))
        at, answer = flight and created or created + ttl, LATER .. first
      end
    end
  elseif set.err then
    at, answer = nil, FAILED .. pack('>I4c0', #set.err, set.err)
  end
  answers[#answers + 1] = answer
  if at then
    index[n + 1], index[n + 2] = at, sub(entry, from)
    n = n + 2
    if watched then
      pcall_(ARGV[6], entry, '')
    end
  end
end
if n > 1 then
  call('ZADD', unpack(index))
end
if ARGV[7] == '0' then
  return table.concat(answers)
end
