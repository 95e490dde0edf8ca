#!/usr/bin/env perl

# src/client in Chromium: if this fails, somebody who presses F5 is seen to leave
# and join, what was written without a connection is gone with the page, or a
# page gets nothing where WebSockets are blocked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Tabs;


# pages come from one server, so that the other can be away

my $pages = Fanout::Nginx->start(
    server => <<"END",
        location /client/ {
            root $FindBin::Bin/../src;
            types { text/javascript js; }
        }
        location = /page {
            default_type text/html;
            return 200 '<!doctype html><title>page</title><link rel=icon href=data:,>';
        }
END
);

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=100 ttl=1h presence=on linger=5s;
        fanout_rate off;
        fanout_budget off;
        fanout_permit all *;
        fanout_origin *;
        fanout_user $arg_user;
END
    server => <<'END',
        location /rt    { fanout app; }
        location /sse   { fanout app; fanout_transports sse poll post; }
        location /poll  { fanout app; fanout_transports poll post; }
        location /fanout { fanout_api app public; }
END
);

my $tabs = Fanout::Tabs->start;


# a page with a hub, and what its channel tells

sub page {
    my ($tab, $at, %o) = @_;

    $tabs->open($tab, $pages->uri('/page')) if !$o{again};
    $tabs->evaluate($tab, <<"END");
import("/client/fanout.js").then(async ({ Fanout }) => {
    window.hub = new Fanout("${\ $nginx->uri($at) }?user=$tab", {
        backoff: { base: 100, max: 500 },
    });
    window.room = hub.channel("room", { history: 50, presence: {} });
    window.got = [];
    window.left = [];
    room.on("message", (m) => got.push(m.data));
    room.presence.on("leave", (m) => left.push(m.user + " " + m.reason));
    window.until = async (f) => {
        for (let i = 0; i < 600 && !f(); i++) {
            await new Promise((done) => setTimeout(done, 50));
        }
        return f();
    };
    await room.join();
})
END
}


sub value { $tabs->evaluate(@_) }


subtest 'F5' => sub {
    page($_, '/rt') for qw( ann bob );

    ok(value('bob', 'until(() => room.presence.size === 2)'), 'two are there');

    my $client = value('ann', 'hub.client');

    value('ann', 'room.publish("before").done');
    $tabs->open('other', 'about:blank');
    value('ann', 'void setTimeout(() => location.reload())');
    wait_for(sub {
        (eval { value('ann', 'typeof window.hub') } // '') eq 'undefined';
    });
    page('ann', '/rt', again => 1);

    is(value('ann', 'hub.client'), $client, 'the same client');
    ok(value('ann', 'until(() => got.includes("before"))'), 'and its history');
    value('ann', 'room.publish("after").done');
    ok(value('bob', 'until(() => got.includes("after"))'), 'goes on');
    is_deeply(value('bob', 'left'), [], 'nobody was seen to leave');

    $tabs->close('ann');
    ok(value('bob', 'until(() => left.length)'), 'who closes it leaves');
    is_deeply(value('bob', 'left'), ['ann intentional'], 'and meant it');
    is_deeply($tabs->errors('bob'), [], 'the console is quiet');
};


subtest 'written without a connection' => sub {
    page('ann', '/rt');
    $nginx->stop;
    ok(value('ann', 'until(() => hub.state === "reconnecting")'), 'it is told');

    value('ann', 'room.publish("one"), void room.publish("two")');
    is(value('ann', 'hub.queue.size'), 2, 'two wait');
    value('ann', 'void setTimeout(() => location.reload())');
    wait_for(sub {
        (eval { value('ann', 'typeof window.hub') } // '') eq 'undefined';
    });

    $nginx->restart;
    page('ann', '/rt', again => 1);
    ok(value('ann', 'until(() => got.length >= 2)'), 'the next page sends them');
    is_deeply(value('ann', 'got'), [qw( one two )], 'in order, once');
    is(value('ann', 'localStorage.length'), 0, 'and keeps nothing');
};


for my $way (qw( sse poll )) {
    subtest "where only $way works" => sub {
        page($way, "/$way");
        is(value($way, 'hub.transport'), $way, 'it is used');

        my $n = $way eq 'sse' ? 'cid' : 'dan';

        page($n, '/rt');
        value($n, 'room.publish("hello").done');
        ok(value($way, 'until(() => got.includes("hello"))'), 'receives');
        value($way, 'room.publish("thanks").done');
        ok(value($n, 'until(() => got.includes("thanks"))'), 'sends');
        ok(value($n, 'until(() => [...room.presence.values()]'
                     . ".some((m) => m.user === '$way'))"), 'is a member');
        value($way, 'hub.close()');
        ok(value($n, "until(() => left.includes('$way intentional'))"),
           'and leaves');
        $tabs->close($_) for $way, $n;
    };
}
