-- TakeOver (clause 3.6).
-- KEYS: flights, the entry.
-- ARGV: clock, expected holder, cutoff (us, or empty), new holder, life of the key (ms), mark of being watched, command to
-- tell by, the record from the ttl on.
-- Answers now, and LATER, KEPT, OWN, or NO where nothing is live.
local entry, stamp = KEYS[2], pack('>I8', now)
local old = call('GET', entry)
if not old then
  return stamp .. NO
end
local status, attempt, made, touched, ttl, by = parse(HEAD, old)
if now >= touched + ttl then
  return stamp .. NO
end
if status == IN_FLIGHT and by == ARGV[4] then
  return stamp .. OWN .. pack('>I4c0', #old, old)
end
if status ~= IN_FLIGHT or by ~= ARGV[2] or (ARGV[3] ~= '' and touched >= tonumber(ARGV[3])) then
  return stamp .. KEPT .. pack('>I4c0', #old, old)
end
local created = math.max(now, made + 1)
local first = pack('>I4I8', attempt + 1, created)
call('SET', entry, '\1' .. first .. sub(first, 5) .. ARGV[8], 'PX', ARGV[5])
call('ZADD', KEYS[1], created, sub(entry, #KEYS[1] + 1))
if ARGV[6] ~= '' and pcall_('EXISTS', ARGV[6]) ~= 0 then
  pcall_(ARGV[7], entry, '')
end
return stamp .. LATER .. first
