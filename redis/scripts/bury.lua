-- What put.lua and sweep.lua do with the dead.
-- KEYS: flights, results.
local STAMPS = '>BI4I8I8I8' -- as HEAD, without the holder
local SHORT = 29            -- its length
local base = sub(KEYS[1], 1, -2) .. ':'

-- Removes those of the keys, members of an index, that are dead at that time, and what the index says beyond the
-- truth. Returns how many entries that were.
local function bury(index, keys, kind, at)
  local gone, wrong, n = {}, {}, 0
  for _, key in ipairs(keys) do
    local entry = base .. key
    local head = call('GETRANGE', entry, 0, SHORT - 1)
    if #head < SHORT then
      wrong[#wrong + 1], n = key, n + 1 -- the server has forgotten it by itself
    else
      local status, _, _, touched, ttl = parse(STAMPS, head)
      if status ~= kind then
        wrong[#wrong + 1] = key -- forgotten, and claimed or completed anew
      elseif touched + ttl <= at then
        wrong[#wrong + 1], gone[#gone + 1], n = key, entry, n + 1
      end
    end
  end
  if #gone > 0 then
    call('UNLINK', unpack(gone))
  end
  if #wrong > 0 then
    call('ZREM', index, unpack(wrong))
  end
  return n
end
