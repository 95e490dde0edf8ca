#!/usr/bin/env perl

# 10,000 members in one channel. If this fails, each that comes costs more the
# more there are, the list of them does not fit into what a client may be sent,
# or comes with holes, or those who read it slowly fill the memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Crowd;
use Fanout::JSON;
use Fanout::Nginx;


my $n = $ENV{TEST_SANITIZE} ? 2000 : 10_000;

# behind the members those who see, those who see later, and who is slow

my $eyes  = $n;
my $later = $eyes + 4;
my $slow  = $later + 4;
my $all   = $slow + 60;

my $buffer = 24 * 1024;

my $nginx = Fanout::Nginx->start(
    workers => 2,
    level   => 'warn',
    main    => 'worker_rlimit_nofile 20000;',
    events  => 'worker_connections 15000;',
    http    => 'fanout_zone app 32m idle=1s; fanout_rate off; fanout_budget off;
                fanout_sessions_per_address off;
                fanout_channel app crowd presence=on linger=1s batch=20ms;
                fanout_resume 1s;',
    server  => "listen 127.0.0.1:%%PORT%% backlog=4096 sndbuf=32k;
                fanout_user \$arg_user;
                location /rt { fanout app; fanout_permit all *; }
                location /rt/narrow { fanout app; fanout_permit all *;
                                      fanout_buffer $buffer; }
                location /api/ { fanout_api app; }
                location = /status { fanout_status app; }"
);

my $http  = $nginx->http;
my $free  = status()->{zone}{free};
my $crowd = Fanout::Crowd->start($nginx, clients => $all);

sub status { $http->get('/status')->json }

sub seers { @{ $_[0]{seers} } }

# CPU of the workers, in ns

sub cpu {
    my $ns = 0;

    for my $pid ($nginx->worker_pids) {
        open my $f, '<', "/proc/$pid/schedstat" or return 0;
        $ns += (split ' ', readline $f)[0];
    }

    return $ns;
}

# so many join, and are seen

sub grow {
    my ($from, $to) = @_;

    my $cpu = cpu();

    $crowd->act("open $from $to member");

    my $r = $crowd->until(sub {
        !grep { $_->{listed} != $to } seers($_[0])
    });

    ok($r->{ok}, "$to are in, and seen") or diag($r->{why});

    return (cpu() - $cpu) / ($to - $from);
}

# One joins: what those who see are sent for it, without the digits of its
# number, which is its slot, its name and its data, and those of the offset.

sub one_more {
    my ($i) = @_;

    # what was to be told of others has been

    $crowd->act('zero');
    $crowd->act("open $i @{[ $i + 1 ]} member");

    my $r = $crowd->until(sub { !grep { !$_->{joined} } seers($_[0]) });

    is_deeply([ map { "$_->{joined} in $_->{frames}" } seers($r) ],
              [ ('1 in 1') x 4 ], "one joins behind $i");

    my %bytes = map {
        $_->{bytes} - 3 * length($i) - length($_->{offset}) => 1
    } seers($r);

    return join ' ', keys %bytes;
}


subtest 'joining' => sub {
    my (%cpu, %bytes);

    $crowd->act("open $eyes $later sees");

    grow(0, 100);
    $bytes{100} = one_more(100);
    grow(101, 200);
    $cpu{first} = grow(200, 1000);
    $bytes{1000} = one_more(1000);
    grow(1001, $n - 801);
    $cpu{last} = grow($n - 801, $n - 1);

    my $changes = status()->{zone}{changes};
    my $used    = status()->{zone}{used};

    $bytes{$n} = one_more($n - 1);

    is(status()->{zone}{changes}, $changes + 1, 'one change is told');
    is(status()->{zone}{used}{members}, $used->{members} + 1,
       'it takes one block');
    cmp_ok(status()->{zone}{used}{rooms}, '<=', $used->{rooms} + 4,
           'and those of the tree');

    is($bytes{1000}, $bytes{100}, "$bytes{100} bytes with 1,000, as with 100");
    is($bytes{$n}, $bytes{100}, "and with $n");

    # were all looked at for each, this would be some ten times as much

    note(join ', ', map { sprintf '%s: %.1f us of CPU', $_, $cpu{$_} / 1000 }
                    qw( first last ));
    cmp_ok($cpu{last}, '<', 4 * $cpu{first}, 'the last cost what the first do')
        if !$ENV{TEST_SANITIZE};
};


subtest 'in the zone' => sub {
    my $z = status()->{zone};
    my %used = %{ $z->{used} };

    # that of the session too: identity and user, with the user's name

    my $data = 0;
    $data += length("u$_") + length(qq({"n":$_})) for 0 .. $n - 1;

    my $each = ($used{members} + $used{seats} + $used{rooms})
               * $z->{block_size} / $n;
    my $with = $each + ($used{identities} * $z->{block_size} - $data) / $n;

    is($z->{members}, $n, 'all members');
    cmp_ok($each, '<=', 160, sprintf '%.1f bytes for each', $each);
    cmp_ok($with, '<=', 256, sprintf '%.1f with the session, beyond its data',
                                     $with);
};


subtest 'the list' => sub {
    for my $i (0 .. 3) {
        my $pid = ($nginx->worker_pids)[$i % 2];
        my $at  = $later + $i;
        my $how = $i < 2 ? 'sees' : 'sees,narrow';
        my $max = $i < 2 ? 32768 : $buffer;

        my $r = $crowd->on_worker($pid, "open $at @{[ $at + 1 ]} $how");
        my ($c) = grep { $_->{n} == $at } seers($r);

        ok($r->{ok}, "to $how from worker $pid") or diag($r->{why});
        is($c->{listed}, $n, 'all of them, each once');
        cmp_ok($c->{parts}, '>=', int($n * 100 / $max),
               "in $c->{parts} parts");
        cmp_ok($c->{largest}, '<=', $max, "of $c->{largest} bytes at most");
    }
};


subtest 'slow readers' => sub {
    my %rss = map { $_ => $nginx->rss($_) } $nginx->worker_pids;
    my ($r, $bytes);

    # a sanitizer keeps what was freed, and more around it
    my $most = (12 << 20) * ($ENV{TEST_SANITIZE} ? 2 : 1);

    # three lists, since one changes

    for my $i (0 .. 2) {
        my ($from, $to) = ($slow + 20 * $i, $slow + 20 * ($i + 1));

        $crowd->act("storm $i 1");
        $crowd->act("open $from $to sees,narrow,slow");

        # what is read elsewhere was written after their replies were begun

        $crowd->act("ping 0 $n");
    }

    for my $pid (keys %rss) {
        my $grown = $nginx->rss($pid) - $rss{$pid};
        cmp_ok($grown, '<', $most, "$grown bytes for who does not read");
    }

    $r = $crowd->act("wake $slow $all");
    ok($r->{ok}, 'all read on') or diag($r->{why});
    is($r->{in}, $all, 'and are in');
    is_deeply([ map { $_->{listed} } seers($r) ], [ ($n) x 68 ],
              'with the whole list');

    $bytes += $_->{bytes} for grep { $_->{n} >= $slow } seers($r);
    cmp_ok($bytes, '>', 60 * 100 * $n, "$bytes bytes in all");
};


subtest 'all leave' => sub {
    my $z;

    $crowd->act('zero');

    my $r = $crowd->act("leave 0 $n");
    ok($r->{ok}, 'at once') or diag($r->{why});

    $r = $crowd->until(sub { !grep { $_->{listed} } seers($_[0]) });
    is_deeply([ map { $_->{listed} } seers($r) ], [ (0) x 68 ],
              'all know it');
    is_deeply([ map { $_->{gaps} ? $n : $_->{left}{intentional} } seers($r) ],
              [ ($n) x 68 ], 'told of each, or to read the list again');
    is($r->{wrong}, 0, 'once') or diag($r->{why});

    $r = $crowd->act("bye 0 $all");
    ok($r->{ok}, 'the connections are closed') or diag($r->{why});

    ok(wait_for(sub {
        $z = status()->{zone};
        $z->{free} == $free;
    }, 30), 'all blocks of the zone are free again') or diag explain $z;
};


done_testing;
