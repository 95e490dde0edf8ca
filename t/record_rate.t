#!/usr/bin/env perl

# What changes of records and locks cost who makes them. If this fails, one
# client makes the server tell thousands of others at the price of a ping.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Crowd;
use Fanout::Nginx;


my $many = 1100;

my $nginx = Fanout::Nginx->start(
    workers => 1,
    main    => 'worker_rlimit_nofile 4000;',
    events  => 'worker_connections 2000;',
    http    => <<'END',
        fanout_zone app 32m;
        fanout_budget off;
        fanout_channel app long records=on history=5000;
        fanout_channel app * records=on locks=1m;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% backlog=4096;

        location /rt { fanout app; fanout_permit all *; fanout_rate off; }
        location /limited {
            fanout app;
            fanout_permit all *;
            fanout_rate 1r/s burst=20;
        }
END
);

# how many of 18 commands are accepted at once; a join came before

sub accepted {
    my (@commands) = @_;

    my $ws = $nginx->native(path => '/limited');

    $ws->ok('join', channel => 'hall', want => []);

    return scalar grep { $_->{ok} }
           $ws->batch(map { { channel => 'hall', %$_ } } @commands);
}

my @sets  = map { { op => 'set', record => "r$_", set => { n => $_ } } }
            1 .. 18;
my @again = map { { op => 'set', record => 'r1', set => { n => 1 } } } 1 .. 18;
my @locks = map { { op => 'lock', name => 'x' } } 1 .. 18;

is(accepted(@sets), 18, 'changes that nobody hears cost a command each');
is(accepted(@locks), 18, 'so do locks that are renewed');

my $crowd = Fanout::Crowd->start($nginx, clients => $many, channel => 'hall');
my $r     = $crowd->act("open 0 $many none");

ok($r->{ok}, "$many more listen") or diag($r->{why});

cmp_ok(accepted(map { { %$_, set => { n => 0 } } } @sets), '<', 10,
       'changes cost for those who hear them');
cmp_ok(accepted(map { { op => 'delete', record => "r$_" } } 2 .. 18), '<', 10,
       'so do deletes');
cmp_ok(accepted(map { { op => 'lock', name => 'y' } } 1 .. 18), '<', 10,
       'and locks');

my $first = accepted(@again);

is(accepted(@again), 18, 'a change that changes nothing is told to nobody')
    or diag("before: $first");


# a search looks at each entry, here at 4,096 of them, unless the record is there

my $writer = $nginx->native(path => '/rt');

$writer->ok('set', channel => 'long', record => 'old', set => { n => 1 });

for (1 .. 72) {
    $writer->batch(map { { op => 'publish', channel => 'long', data => 1 } } 1 .. 60);
}

sub searches {
    my ($record) = @_;

    return accepted(map { { op => 'history', channel => 'long', record => $record } } 1 .. 18);
}

is(searches('old'), 18, 'the history of a record is found by its last change');
cmp_ok(searches('gone'), '<', 4, 'a search costs for what it looks at');

my $page = $writer->ok('history', channel => 'long', record => 'gone');

is_deeply($page->{messages}, [], 'and finds nothing');
cmp_ok($page->{next}, '>', 1, 'in a page that is not the last');

done_testing();
