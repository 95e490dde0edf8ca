#!/usr/bin/env node
/*
 * The command-line client: docs/cli.md. Each command is a module with usage,
 * options (for parseArgs) and run(args, session). Exit codes: 0 it is done, 1
 * it failed, 2 the command line is wrong, 130 and 143 after a signal.
 */

import { parse, UsageError, usageOf } from "./options.js";
import { complain, onPipeEnd, print } from "./output.js";
import { Session } from "./session.js";

const COMMANDS = ["sub", "tail", "pub", "presence", "bench"];

const USAGE = `Usage: fanout COMMAND [OPTION]... CHANNEL...

  sub       print what comes on channels
  tail      print their last messages, and what comes
  pub       publish messages
  presence  print who is there
  bench     measure a server

"fanout COMMAND --help" has the options. The URL of the server is the option
--url, or FANOUT_URL in the environment.
`;

async function main([name, ...args]) {
    if (name === "--help" || name === "-h" || name === "help") {
        print(USAGE);
        return 0;
    }

    if (name === "--version") {
        print(Session.version + "\n");
        return 0;
    }

    if (!COMMANDS.includes(name)) {
        complain((name === undefined ? "there is no command"
                                     : `no command "${name}"`)
                 + `; "fanout --help" has them`);
        return 2;
    }

    const command = await import(`./${name}.js`);

    try {
        const parsed = parse(command, args);

        if (parsed.help) {
            print(usageOf(command));
            return 0;
        }

        return await new Session(parsed).run(command);

    } catch (e) {
        complain(e.message);

        if (e instanceof UsageError) {
            complain(`"fanout ${name} --help" has the options`);
            return 2;
        }

        return 1;
    }
}

onPipeEnd(() => process.exit(0));

process.exitCode = await main(process.argv.slice(2));
setTimeout(() => process.exit(), 2000).unref();
