export const usage = `Usage: fanout presence [OPTION]... CHANNEL...

Prints who is on channels.

  -w, --watch              and who joins, changes and leaves
`;

export const options = {
    "watch": { type: "boolean", short: "w" },
};

export async function run(args, session) {
    const hub = await session.connect();

    const show = (channel, what, { ...member }) => session.print(
        { channel, [what]: member },
        [channel, what, member.user, member.client, member.key, member.state,
         member.reason],
        member.data);

    const count = (channel, { summary }) => session.print(
        { channel, summary }, [channel, "members"], summary.members);

    await Promise.all(args.positionals.map(async (name) => {
        const channel = session.channel(hub, name, { want: ["presence"] });
        const { presence } = channel;

        await channel.join();

        if (presence.summary) {
            count(name, presence);
        }

        presence.forEach((member) => show(name, "member", member));

        for (const what of args.watch ? ["join", "update", "leave"] : []) {
            presence.on(what, (member) => show(name, what, member));
        }

        if (args.watch) {
            presence.on("change", () => presence.summary
                                        && count(name, presence));
        }
    }));

    return args.watch ? undefined : 0;
}
