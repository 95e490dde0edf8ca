import { createInterface } from "node:readline";

import { oneOf, UsageError } from "./options.js";

const WAITING = 256;                /* messages on their way */

export const usage = `Usage: fanout pub [OPTION]... CHANNEL [MESSAGE]...

Publishes messages in order, or each line of the standard input, and prints the
position of each. What is JSON is sent as such, anything else as a text.

      --as FORMAT          json: nothing else is taken; text: JSON is a text too
  -e, --event NAME         of the messages
  -k, --key KEY            of the message: published once, however often it is
                           sent
      --to-user USER       a direct message
      --to-client CLIENT
      --no-store           is not kept in the history
`;

export const options = {
    "as": { type: "string" },
    "event": { type: "string", short: "e" },
    "key": { type: "string", short: "k" },
    "to-user": { type: "string" },
    "to-client": { type: "string" },
    "no-store": { type: "boolean" },
};

export async function run(args, session) {
    const [name, ...texts] = args.positionals;
    const as = oneOf(args, "as", ["json", "text"]);
    const more = published(args, texts);
    const given = texts.map((text) => dataOf(text, as));
    const hub = await session.connect();
    const channel = session.channel(hub, name, {});
    const waiting = new Set();
    let failed = 0;

    const publish = async (data) => {
        try {
            const result = await channel.publish(data, more);

            session.print({ channel: name, ...result },
                          ["sent", name, result.offset === undefined
                                         ? undefined : "#" + result.offset],
                          undefined, result.time);

        } catch (e) {
            refused(`not sent to ${name}: ${e.code}: ${e.message}`);
        }
    };

    const refused = (why) => {
        failed++;
        session.complain(why);
    };

    const add = (data) => {
        const one = publish(data).then(() => waiting.delete(one));

        waiting.add(one);
    };

    given.forEach(add);

    if (!texts.length) {
        const lines = createInterface({ input: process.stdin,
                                        crlfDelay: Infinity });

        for await (const line of lines) {
            if (waiting.size >= WAITING) {
                await Promise.race(waiting);
            }

            try {
                if (line !== "") {
                    add(dataOf(line, as));
                }

            } catch (e) {
                refused(e.message);
            }
        }
    }

    await Promise.all(waiting);

    return failed ? 1 : 0;
}

function published(args, texts) {
    const { event, key, "to-user": user, "to-client": client } = args;

    if (user !== undefined && client !== undefined) {
        throw new UsageError("--to-user or --to-client");
    }

    if (key !== undefined && texts.length !== 1) {
        throw new UsageError("--key is of one message");
    }

    return {
        ...event !== undefined && { event },
        ...key !== undefined && { key },
        ...user !== undefined && { to: { user } },
        ...client !== undefined && { to: { client } },
        ...args["no-store"] && { store: false },
    };
}

function dataOf(text, as) {
    if (as === "text") {
        return text;
    }

    try {
        return JSON.parse(text);

    } catch (e) {
        if (as === "json") {
            throw new UsageError(`no JSON: ${text}`);
        }

        return text;
    }
}
