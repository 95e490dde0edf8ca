#!/usr/bin/env perl

# One client changes its member as fast as it can. If this fails, that is
# everybody's problem: they are flooded with what it was for a moment, wait for
# their own answers, or miss what others say.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::Crowd;
use Fanout::Nginx;


my $rate  = 50;
my $batch = 50;
my $times = $ENV{TEST_SANITIZE} ? 20_000 : 200_000;

my $nginx = Fanout::Nginx->start(
    workers => 2,
    level   => 'warn',
    http    => "fanout_zone app 16m idle=1s;
                fanout_channel app rated presence=on batch=${batch}ms;
                fanout_channel app free presence=on batch=${batch}ms;
                fanout_user \$arg_user; fanout_rate off; fanout_budget off;
                fanout_sessions_per_address off;",
    server  => "location /rt { fanout app; fanout_permit all *; }
                location /rt/narrow {
                    fanout app; fanout_permit all *;
                    fanout_rate ${rate}r/s burst=$rate;
                }
                location /api/ { fanout_api app; }
                location = /status { fanout_status app; }"
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;

sub status { $http->get('/status')->json }


# The storm is on the first worker: beside it are ann and one who sees, bob and
# another are on the second one.

for (['rated', 'narrow'], ['free', 'member']) {
    my ($channel, $where) = @$_;

    subtest $channel => sub {
        my $crowd = Fanout::Crowd->start($nginx, clients => 3,
                                         channel => $channel);

        $crowd->on_worker($one, "open 0 1 member,$where", 'open 1 2 sees');
        $crowd->on_worker($two, 'open 2 3 sees');

        my $ann = $nginx->native(worker => $one, path => '/rt?user=ann');
        my $bob = $nginx->native(worker => $two, path => '/rt?user=bob');

        # the crowd knows its own members only

        $bob->ok('join', channel => $channel, want => ['messages']);
        $ann->ok('join', channel => $channel, want => ['messages']);
        $crowd->act('zero');

        my $before = status()->{zone};
        my $from   = time;
        my $done   = 0;

        $crowd->begin("storm 0 $times");

        while ($crowd->busy && $done < 1000) {
            $done++;
            $ann->ok('publish', channel => $channel, data => $done,
                     echo => Fanout::JSON::false());
            $bob->ok('ping');
        }

        my $r    = $crowd->answer;
        my $took = time - $from;

        ok($r->{ok}, "$times changes") or diag($r->{why});
        is($r->{errors}, $r->{limited}, 'none was refused but for the rate');
        cmp_ok($done, '>', $times / 2000, "meanwhile $done messages of another");

        my $got = $bob->ok('ping');
        my @told = grep { exists $_->{data} } $bob->drain;
        is_deeply([ map { $_->{data} } @told ], [ 1 .. $done ],
                  'all of which arrive, in order');

        my $takes = $times - $r->{limited};

        if ($where eq 'narrow') {
            my $may = $rate * ($took + 2);
            cmp_ok($takes, '<=', $may, "no more than $may were taken");

        } else {
            is($takes, $times, 'all were taken');
        }

        # what it has come to be is told

        $r = $crowd->until(sub {
            my $z = status()->{zone};
            my $n = $z->{deltas};
            select undef, undef, undef, 0.002 * $batch;
            status()->{zone}{deltas} == $n;
        });

        $took = time - $from;

        my $deltas = status()->{zone}{deltas} - $before->{deltas};
        my $most   = $took * 1000 / $batch + 2;

        cmp_ok($deltas, '<=', $most, "told in $deltas changes");
        $r = $crowd->act('ping 1 3');

        for (@{ $r->{seers} }) {
            is($_->{changes}, $deltas, 'to who sees it');
            is($_->{gaps}, 0, 'who has not fallen behind');
            cmp_ok($_->{bytes}, '<', 300 * ($deltas + $done) + 1000,
                   "by $_->{bytes} bytes");
        }

        is($r->{wrong}, 0, 'and right') or diag($r->{why});

        my $p = $http->get("/api/channels/$channel/presence")->json;
        is($p->{members}[0]{data}{x}, $times - 1, 'the last of them stays')
            if $where ne 'narrow';

        $_->close(1000) for $ann, $bob;
        $crowd->act('bye 0 3');
        $crowd->stop;
    };
}


done_testing;
