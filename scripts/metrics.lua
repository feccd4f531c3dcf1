-- SPDX-License-Identifier: Apache-2.0
-- The numbers of a chain's member, or of its master, as names and values one after another: for the option -script of
-- prometheus-redis-exporter, which shows them as redis_script_values{key="applied"} and so on (docs/operations.md).

local found = {}

local function put(name, value)
    found[#found + 1] = name
    found[#found + 1] = tostring(value)
end

local function is_number(text)
    return #text < 20 and string.match(text, '^-?%d+$')
end

-- `member_role:head` in the section `member` is role, head.
local function each(section)
    return string.gmatch(redis.call('INFO', section), section .. '_([%w_]+):([^\r\n]*)')
end

for name, value in each('member') do
    if is_number(value) then
        put(name, value)
    elseif string.match(name, '^link_%a+$') and value ~= 'none' then
        put(name, value == 'ready' and 1 or 0)
    elseif name == 'role' then
        put('head', (value == 'head' or value == 'singleton') and 1 or 0)
        put('tail', (value == 'tail' or value == 'singleton') and 1 or 0)
        put('in_chain', (value ~= 'alone' and value ~= 'removed' and value ~= 'learner') and 1 or 0)
    elseif name == 'checkpoint_error' then
        put('checkpoint_failing', value ~= '' and 1 or 0)
    end
end

for name, value in each('master') do
    if is_number(value) then
        put('master_' .. name, value)
    elseif name == 'state' then
        put('master_serving', value == 'serving' and 1 or 0)
    elseif string.match(name, '^member_%d+$') then
        -- host:port,state=serving,silent_ms=12,checkpointed=-1
        put('master_' .. name .. '_silent_ms', string.match(value, 'silent_ms=(-?%d+)') or -1)
        put('master_' .. name .. '_checkpointed', string.match(value, 'checkpointed=(-?%d+)') or -1)
    end
end

return found
