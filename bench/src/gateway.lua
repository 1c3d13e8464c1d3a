-- bench/src/gateway.lua: what wrk asks the servers of bench/gateway.
--
-- wrk -s gateway.lua URL -- STREAMS POISON FILE: the file has requests, one a block, ended by a line "---"; @@@@@@ in them
-- stands for the six digits of a stream drawn from 1..STREAMS. Of 100 requests POISON are the second of the file; the rest
-- are drawn from the others. Requests are whole: nothing is made for each but the number.

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("seed", threads)
end

local function pieces(text)
   local found, from = {}, 1
   while true do
      local at = string.find(text, "@@@@@@", from, true)
      if not at then
         found[#found + 1] = string.sub(text, from)
         return found
      end
      found[#found + 1] = string.sub(text, from, at - 1)
      from = at + 6
   end
end

function init(args)
   streams, poison, requests = tonumber(args[1]), tonumber(args[2]), {}
   math.randomseed(seed * 7919 + os.time())
   local block = {}
   for line in io.lines(args[3]) do
      if line == "---" then
         requests[#requests + 1] = pieces(table.concat(block, "\r\n"))
         block = {}
      else
         block[#block + 1] = line
      end
   end
end

local function pick()
   if poison > 0 then
      return requests[math.random(100) <= poison and 2 or 1]
   end
   return #requests == 1 and requests[1] or requests[math.random(#requests)]
end

function request()
   return table.concat(pick(), string.format("%06d", math.random(streams)))
end
