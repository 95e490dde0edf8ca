/*
 * Transports. open(o) starts one connection, and returns {send, close, ...}:
 *
 *   o.url        a URL with http: or https:
 *   o.token      of the session, or undefined
 *   o.resume     the token of the last welcome, or undefined
 *   o.host       see host.js
 *   o.alive()    to call whenever something comes from the server
 *   o.text(t)    to call with JSON of the protocol; implies alive()
 *   o.frame(f)   to call with an object of it
 *   o.closed({opened, code, reason, status, retryAfter})
 *                to call once, when the connection is over
 *
 *   send(commands)   an array of one or more commands
 *   close(code)      ends it; 1000 says that the client does not come back.
 *                    Nothing of o is called afterwards
 *   auth             whether the command "auth" renews the token in place
 *
 * This one is the WebSocket of the browser, or one with its interface.
 */

export const websocket = {
    name: "websocket",

    usable: (host) => !!host.WebSocket,

    open(o) {
        const url = new URL(o.url);
        const protocols = ["fanout.v1"];
        let opened = false;

        url.protocol = url.protocol.replace("http", "ws");
        url.search += (url.search ? "&" : "?") + "heartbeat=1";

        if (o.token && !o.tokenByCommand) {
            protocols.push("fanout.token." + o.token);
        }

        if (o.resume) {
            protocols.push("fanout.resume." + o.resume);
        }

        const ws = new o.host.WebSocket(url.href, protocols);

        ws.onopen = () => {
            opened = true;
            o.alive();

            if (o.token && o.tokenByCommand) {
                ws.send(JSON.stringify({ op: "auth", token: o.token }));
            }
        };

        ws.onmessage = (e) => o.text(e.data);

        ws.onclose = (e) => o.closed({
            opened, code: e.code, reason: e.reason,
        });

        ws.onerror = () => {};              /* a close follows */

        return {
            auth: true,

            send(commands) {
                ws.send(JSON.stringify(commands.length > 1 ? commands
                                                           : commands[0]));
            },

            close(code) {
                ws.onopen = ws.onmessage = ws.onclose = null;
                ws.close(code);
            },
        };
    },
};
