#!/usr/bin/env perl

# src/client in Node, against a real NGINX: if this fails, an application loses
# a message, gets one twice or in another order, or sees somebody leave, because
# a connection was cut, a worker killed or NGINX reloaded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Handle;
use IPC::Open2;
use Time::HiRes qw( sleep );

use Fanout::JSON;
use Fanout::Nginx;


my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";

-d "$modules/ws" or die "no $modules/ws: t/tools/deps page\n";

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;
        fanout_channel app * history=50000 ttl=1h presence=on linger=30s
                             records=on;
        fanout_history 50000;
        fanout_rate off;
        fanout_budget off;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_drain 300ms;
            fanout_retry 100ms;
        }
        location /fanout { fanout_api app public; }
END
);


sub line {
    my ($out) = @_;
    my $line = readline $out;

    return defined $line ? Fanout::JSON::decode($line) : { error => 'ended' };
}


sub soak {
    my ($transport) = @_;

    local $ENV{WS_MODULES} = $modules;

    my $pid = open2(my $out, my $in, 'node', "$root/t/client/soak.js",
                    $nginx->port, '/realtime', $transport);
    my $say = sub {
        print $in "$_[0]\n";
        $in->flush;
    };

    my $ready = line($out);

    is_deeply($ready->{ready}, [ ($transport) x 4 ], 'all have joined')
        or diag(explain($ready));

    for my $fault (
        sub { $say->('cut') },
        sub { $nginx->kill_worker(($nginx->worker_pids)[0]) },
        sub { $nginx->reload },
        sub { $say->('cut'); sleep 0.05; $say->('cut') },
        sub { $say->('off'); sleep 2; $say->('on') },
        sub { $nginx->kill_worker($_) for $nginx->worker_pids },
    ) {
        sleep 0.5;
        $fault->();
    }

    sleep 0.5;
    $say->('end');

    my $r = line($out);

    waitpid $pid, 0;
    is($?, 0, 'ends well');
    is($r->{error}, undef, 'no error') or return;

    my $sent = 1;
    $sent += $_ for @{ $r->{sent} };

    is_deeply($r->{failed}, [], "$sent messages were sent");
    is_deeply($r->{lost}, [], 'nothing is said to be lost');

    my $first = $r->{got}[0];

    is(scalar(@$first), $sent, 'all were received, once');
    is_deeply($r->{got}[$_], $first, "and the same by client $_") for 1 .. 3;

    my (%last, @wrong);

    for my $m (@$first) {
        my ($i, $n) = split /\./, $m->[1];

        next if $i eq 'end';
        push @wrong, $m->[1] if $n != ($last{$i} // -1) + 1;
        $last{$i} = $n;
    }

    is("@wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]", '', 'each in its order');
    is_deeply($r->{leaves}, [ ([]) x 4 ], 'nobody was seen to leave')
        or diag(explain($r->{leaves}));
    is_deeply($r->{members}, [ (4) x 4 ], 'all are members');

    my $table = $nginx->http->get("/fanout/channels/soak-$transport/records")
        ->json->{records};

    is_deeply($r->{tables}[$_], $table, "records of client $_") for 0 .. 3;
    is_deeply($r->{pending}, [ (0) x 4 ], 'no change is on its way');
    is_deeply([ grep { !/^(?:sent|conflict)$/ } @{ $r->{sets} } ], [],
              @{ $r->{sets} } . ' changes: each was done or a conflict');
    note("conflicts: @{ $r->{conflicts} }");

    for my $states (@{ $r->{states} }) {
        is($states->[-1], 'connected', 'connected at the end');
        cmp_ok(scalar(grep { $_ eq 'reconnecting' } @$states), '>=', 3,
               'cuts were told');
    }

    $nginx->http->delete("/fanout/channels/soak-$transport");
}


subtest 'WebSocket'          => sub { soak('websocket') };
subtest 'server-sent events' => sub { soak('sse') };
subtest 'polls'              => sub { soak('poll') };


# docs/client.md: its examples print what it says

subtest 'docs/client.md' => sub {
    my $text = Fanout::Nginx::slurp("$root/docs/client.md");
    my ($conf) = $text =~ /^```nginx http\n(.*?)^```/ms;
    my $there = Fanout::Nginx->start(
        http => $conf =~ s/^server \{.*//msr,
        server => ($conf =~ /(^    location .*)^\}/ms)[0]);
    my $n = 0;

    while ($text =~ /^```js run\n(.*?)^```\n+(?:```text\n(.*?)^```)?/gms) {
        my ($code, $want) = ($1, $2);
        my $file = $there->dir . '/example.mjs';
        my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);

        $code =~ s{"nginx-fanout-client/}{"$root/src/client/}g;

        open my $f, '>', $file or die $!;
        print $f <<"END", $code;
import { createRequire } from "node:module";
import * as all from "$root/src/client/fanout.js";

globalThis.WebSocket
    ??= createRequire("$modules/x")("ws").WebSocket;

const { Fanout, FanoutError } = all;
const url = "http://127.0.0.1:${\ $there->port }/realtime";
setTimeout(() => process.exit(9), 60000).unref();
END
        close $f;

        my $said = `node $file 2>&1`;

        is($said =~ s/ +$//gmr, $want // '', "line $line");
        $n++;
    }

    cmp_ok($n, '>=', 5, 'examples');
};
