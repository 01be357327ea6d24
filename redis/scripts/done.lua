-- MarkDone (clause 3.2) of entries that have their ttl in common.
-- KEYS: flights, results, entries.
-- ARGV: clock, ttl (us), life of a key (ms), mark of being watched, command to tell by; then of each entry holder and result.
-- Answers now, and for each entry YES, BEFORE, NO or FAILED.
local ttl, life = tonumber(ARGV[2]), ARGV[3]
local from = #KEYS[1] + 1
local watched = ARGV[4] ~= '' and pcall_('EXISTS', ARGV[4]) ~= 0 -- also where the server does not let us ask
local stamps, score = pack('>I8I8', now, ttl), string.format('%.0f', now + ttl)
local answers = {sub(stamps, 1, 8)}
local index, n = {KEYS[2]}, 1
local gone = {KEYS[1]}
for i = 3, #KEYS do
  local entry, answer = KEYS[i], NO
  local old = pcall_('GET', entry)
  if type(old) == 'string' then
    local status, _, created, touched, span, holder = parse(HEAD, old)
    if now < touched + span and holder == ARGV[2 * i] then
      answer = BEFORE
      if status == IN_FLIGHT then
        local at, line = score, stamps
        if created > now then -- a clock that was set back must not move a stamp before the claim
          at, line = created + ttl, pack('>I8I8', created, ttl)
        end
        local set = pcall_('SET', entry, '\2' .. sub(old, 2, 13) .. line .. sub(old, 30) .. ARGV[2 * i + 1], 'PX', life)
        if set.err then
          answer = FAILED .. pack('>I4c0', #set.err, set.err)
        else
          local key = sub(entry, from)
          index[n + 1], index[n + 2], gone[#gone + 1] = at, key, key
          n, answer = n + 2, YES
          if watched then
            pcall_(ARGV[5], entry, '')
          end
        end
      end
    end
  elseif old then
    answer = FAILED .. pack('>I4c0', #old.err, old.err)
  end
  answers[#answers + 1] = answer
end
if n > 1 then
  call('ZADD', unpack(index))
  call('ZREM', unpack(gone))
end
return table.concat(answers)
