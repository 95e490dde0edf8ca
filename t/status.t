#!/usr/bin/env perl

# The status: if this fails, an operator sees numbers that are not true, loses
# those of a worker that died, or a balancer is told of a worker that doesn't
# serve.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone other 4m;
        fanout_channel app room:* history=10 ttl=1h;
        fanout_channel app * history=100;
END
    server => <<'END',
        location /fanout/ { fanout_api app; }
        location /realtime { fanout app; fanout_permit all *; }
        location = /status { fanout_status app; }
        location = /other  { fanout_status other; }
END
);

my @pids = $nginx->worker_pids;
my ($one, $two) = map { $nginx->http(worker => $_) } @pids;


sub status { ($_[0] || $one)->get('/status')->json }


subtest 'what there is' => sub {
    my $r = $one->get('/status');

    is($r->{status}, 200);
    is($r->{headers}{'content-type'}, 'application/json');

    my $s = $r->json;
    my $z = $s->{zone};

    like($s->{version}, qr/^\d+\.\d+\.\d+$/, 'version');
    like($s->{nginx}, qr/^1\.\d+\.\d+$/, 'version of NGINX');
    is($s->{pid}, $pids[0], 'the worker that answers');
    is($s->{worker}{pid}, $pids[0], 'and what it knows');
    is($z->{name}, 'app', 'name of the zone');
    is($z->{size}, 8 * 1024 * 1024, 'size of the zone');

    my $used = 0;
    $used += $_ for values %{ $z->{used} };

    is($used + $z->{free}, $z->{blocks}, 'every block is accounted for');
    cmp_ok($z->{blocks} * $z->{block_size}, '<=', $z->{size}, 'blocks are in the zone');
    is($z->{overflows}, 0, 'the journal never overflows');
    is($z->{limits}{workers}, 2, 'two slots in use');
    cmp_ok($z->{limits}{slots}, '>=', 2, 'of some more');
    is($one->get('/other')->json->{zone}{name}, 'other', 'another zone');
};


subtest 'counters are those of the source' => sub {
    open my $f, '<', "$FindBin::Bin/../src/zone/stat.h" or die $!;
    my ($list) = do { local $/; <$f> } =~ /define FANOUT_COUNTERS\(_\)(.*?)\n\n/s;
    my @names = $list =~ /_\((\w+),/g;

    cmp_ok(@names, '>', 20, 'there are some');

    my $s = status();

    is_deeply([ sort keys %{ $s->{counters} } ], [ sort @names ], 'of the zone');
    is_deeply([ sort keys %{ $_->{counters} } ], [ sort @names ], "of worker $_->{pid}")
        for @{ $s->{workers} };
};


subtest 'counters count' => sub {
    my $before = status()->{counters};

    $one->post('/fanout/channels/room:1/messages', '"x"') for 1 .. 3;
    $two->post('/fanout/channels/room:2/messages', '"xy"') for 1 .. 4;
    $two->post('/fanout/channels/other/messages', '1', headers => { 'Fanout-Key' => 'k' })
        for 1, 2;
    $two->get('/fanout/channels');

    my $s = status();
    my %w = map { $_->{pid} => $_ } @{ $s->{workers} };

    is($s->{counters}{api_published} - $before->{api_published}, 8, 'published in all');
    is($s->{counters}{api_requests} - $before->{api_requests}, 10, 'requests in all');
    is($s->{counters}{duplicates} - $before->{duplicates}, 1, 'duplicates');

    is_deeply([ sort { $a <=> $b } keys %w ], [ sort { $a <=> $b } @pids ], 'both workers');
    is($w{$pids[0]}{counters}{api_published}, 3, 'of the first');
    is($w{$pids[1]}{counters}{api_published}, 5, 'of the second');
    is($w{$_}{state}, 'live', "$_ is live") for @pids;

    # what workers do by themselves goes on between two requests

    my ($here, $there) = ($s, status($two));

    wait_for(sub {
        ($here, $there) = (status(), status($two));
        return Fanout::JSON::encode($here->{counters})
               eq Fanout::JSON::encode($there->{counters});
    });

    is_deeply($there->{counters}, $here->{counters},
              'every worker says the same');

    my $z = $s->{zone};
    is($z->{channels}, 3, 'channels');
    is($z->{keys}, 1, 'keys');
    cmp_ok($z->{seq}, '>=', 8, 'entries of the zone');

    my %class = map { $_->{pattern} => $_ } @{ $s->{classes} };
    my %room  = %{ $class{'room:*'} || {} };
    my %share = map { $_ => delete $room{$_} } qw( blocks min max evicted );

    is_deeply(\%room, { pattern => 'room:*', channels => 2, messages => 7,
                        bytes => 3 * 3 + 4 * 4 }, 'a class');
    cmp_ok($share{blocks}, '>=', 7, 'its blocks');
    cmp_ok($share{max}, '>', $share{min}, 'and what it may have');
    is($share{evicted}, 0, 'nothing of it was evicted');
    is($class{'*'}{messages}, 1, 'another class');
};


subtest 'sessions' => sub {
    my @clients = map { $nginx->native(worker => $pids[1]) } 1 .. 3;

    $_->ok('join', channel => 'room:1') for @clients;
    $_->ok('join', channel => 'room:2') for @clients[0, 1];

    my $s = wait_for(sub {
        my ($w) = grep { $_->{pid} == $pids[1] } @{ status()->{workers} };
        return $w->{sessions} == 3 && $w->{channels} == 2 && status();
    });

    ok($s, 'sessions and channels of a worker') or return;
    is($s->{counters}{connects}, 3, 'connects');
    is($s->{counters}{joins}, 5, 'joins');
    is($s->{worker}{sessions}, 0, 'none of them is on the first');
    is_deeply([ @{ status($two)->{worker} }{qw( sessions channels )} ], [ 3, 2 ],
              'all on the second');

    $_->disconnect for @clients;

    ok(wait_for(sub { status($two)->{worker}{sessions} == 0 }), 'all are gone');
    is(status()->{counters}{disconnects}, 3, 'and counted');
};


subtest 'formats' => sub {
    my $h = $one->get('/status?format=health');

    is($h->{status}, 200, 'healthy');
    is($h->{headers}{'content-type'}, 'text/plain');
    is($h->{body}, "ok\n", 'in a word');
    is($two->get('/status?format=health')->{status}, 200, 'also the other');

    is($one->get('/status?format=json')->json->{pid}, $pids[0], 'JSON by argument');
    is($one->get('/status', headers => { Accept => $_ })->{headers}{'content-type'},
       'application/json', "JSON for Accept: $_")
        for '*/*', 'application/json', 'text/html;q=0.5, application/json', 'image/png', '';

    my $r = $one->get('/status?format=nonsense');
    is($r->{status}, 400, 'no such format');
    is($r->json->{error}{code}, 'bad_request', 'and that is said');

    $r = $one->head('/status');
    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'without a body');

    for my $method (qw( POST PUT DELETE OPTIONS )) {
        $r = $one->request($method, '/status', body => 'x');
        is($r->{status}, 405, "no $method");
        is($r->{headers}{allow}, 'GET, HEAD', "no $method: Allow");
    }

    is($one->get('/status')->{status}, 200, 'the connection is as good as before');
};


subtest 'a worker dies' => sub {
    my $before = status()->{counters};

    $nginx->kill_worker($pids[1]);

    my $s = wait_for(sub {
        my $s = status();
        my @live = grep { $_->{state} eq 'live' && $_->{pid} != $pids[1] } @{ $s->{workers} };

        return @live == 2 && $s->{zone}{reaped} == 1 && $s;
    });

    ok($s, 'its slot is given back and a new worker has one') or return;

    is($s->{counters}{api_published}, $before->{api_published}, 'what it counted is kept');
    is($s->{zone}{limits}{workers}, 2, 'two slots in use again');

    my %w = map { $_->{pid} => $_ } @{ $s->{workers} };
    ok(!$w{$pids[1]}, 'the dead one is not listed');

    is($nginx->http(worker => $_)->get('/status?format=health')->{body}, "ok\n",
       "worker $_ is healthy")
        for $nginx->worker_pids;
};


# all but slots= can be changed by a reload

subtest 'limits of the zone' => sub {
    my %want = (idle => 300, dedupe => 120, frames => 64 * 1024 * 1024);
    my $has = sub { my $l = status($nginx->http)->{zone}{limits};
                    return { map { $_ => $l->{$_} } keys %want } };

    is_deeply($has->(), \%want, 'by default');

    $nginx->reload(http => <<'END', wait_old => 1);
        fanout_zone app 8m idle=1m dedupe=1s frames=2m;
        fanout_zone other 4m;
END
    is_deeply($has->(),
              { idle => 60, dedupe => 1, frames => 2 * 1024 * 1024 },
              'what is in force, after a reload that says otherwise');
};
