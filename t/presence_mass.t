#!/usr/bin/env perl

# A worker with 5,000 members of one channel dies. If this fails, everybody else
# is flooded by it, a member is told to have left twice, never or though it came
# back in time, or the memory of those who were there is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Crowd;
use Fanout::Nginx;


my $n     = $ENV{TEST_SANITIZE} ? 1000 : 5000;
my $grown = $ENV{TEST_SANITIZE} ? 64 << 20 : 4 << 20;

# those who see, behind them the members; one place for who comes later, and
# members who see

my $eyes = 4;
my $all  = $eyes + $n;
my $both = 20;

my ($nginx, $http, $crowd);

sub setup {
    my ($keep) = @_;

    $nginx->stop if $nginx;

    $nginx = Fanout::Nginx->start(
        workers => 3,
        level   => 'warn',
        main    => 'worker_rlimit_nofile 16000;',
        events  => 'worker_connections 8000;',
        http    => "fanout_zone app 32m idle=1s; fanout_rate off; fanout_budget off;
                fanout_sessions_per_address off;
                    fanout_channel app crowd presence=on linger=$keep;
                    fanout_channel app at:once presence=on linger=0;
                    fanout_resume $keep;",
        server  => 'listen 127.0.0.1:%%PORT%% backlog=4096;
                    location /rt { fanout app; fanout_user $arg_user;
                                   fanout_permit all *; }
                    location /api/ { fanout_api app; }
                    location = /status { fanout_status app; }'
    );

    $http = $nginx->http;
}

sub status { $http->get('/status')->json }

# something that all are told, behind whatever was told before

sub barrier {
    my ($channel, $clients) = @_;

    $http->post("/api/channels/$channel/messages", '"all of you"');

    return $crowd->until(sub { $_[0]{messages} >= $clients });
}

# who is there, as the API says

sub listed {
    my ($channel) = @_;

    my ($cursor, %client) = ('');

    for (1 .. 100) {
        my $r = $http->get("/api/channels/$channel/presence?limit=1000"
                           . ($cursor && "&cursor=$cursor"))->json;

        $client{ $_->{client} }++ for @{ $r->{members} };
        $cursor = $r->{cursor} or last;
    }

    return scalar keys %client;
}

# a new client on each worker is told of so many members

sub told_anew {
    my ($channel, $count) = @_;

    for my $pid ($nginx->worker_pids) {
        my $r = $crowd->on_worker($pid, "open $all @{[ $all + 1 ]} sees");
        my ($new) = grep { $_->{n} == $all } @{ $r->{seers} };

        is($new->{listed}, $count, "listed by worker $pid");
        $crowd->act("bye $all @{[ $all + 1 ]}");
    }
}

# two on each of two workers that live on, and the members on the other

sub gather {
    my ($channel, $dies, @stay) = @_;

    $crowd = Fanout::Crowd->start($nginx, clients => $all + 1 + $both,
                                  channel => $channel);

    $crowd->on_worker($dies, "open $eyes $all member");
    $crowd->on_worker($stay[0], 'open 0 2 sees');

    my $r = $crowd->on_worker($stay[1], "open 2 $eyes sees");

    ok($r->{ok}, 'all are in') or diag($r->{why});
    is($r->{in}, $all, 'so many');
    $r = $crowd->until(sub {
        !grep { $_->{listed} != $n } @{ $_[0]{seers} }
    });
    is_deeply([ map { $_->{listed} } @{ $r->{seers} } ],
              [ ($n) x $eyes ], 'all are seen');

    $crowd->act('zero');
}

# nothing but leaves: each once, in frames of many

sub check_leaves {
    my ($r, $name, %left) = @_;

    my $count = 0;
    $count += $_ for values %left;

    is_deeply([ map { { map { $_ => $r->{seers}[0]{left}{$_} }
                        grep { $r->{seers}[0]{left}{$_} }
                        keys %{ $_->{left} } } } @{ $r->{seers} } ],
              [ (\%left) x $eyes ], "$name: each is told once, and why");
    is_deeply([ map { $_->{joined} + $_->{updated} + $_->{gaps} }
                @{ $r->{seers} } ], [ (0) x $eyes ], 'and nothing else');
    is($r->{wrong}, 0, 'of none who was not there') or diag($r->{why});

    my ($most) = sort { $b <=> $a } map { $_->{frames} } @{ $r->{seers} };

    cmp_ok($most, '<', $count / 20, "in $most frames");

    return $most;
}

sub free_again {
    my ($free) = @_;

    my $z;

    ok(wait_for(sub {
        $z = status()->{zone};
        $z->{free} == $free;
    }, 30), 'and all blocks of the zone are free again')
        or diag explain $z;
}


for (['crowd', '2s'], ['at:once', '1s']) {
    my ($channel, $keep) = @$_;

    subtest "all leave: $channel" => sub {
        setup($keep);

        my ($dies, @stay) = $nginx->worker_pids;
        my $free = status()->{zone}{free};

        gather($channel, $dies, @stay);

        my $z = status()->{zone};
        my $each = ($z->{used}{members} + $z->{used}{seats}
                    + $z->{used}{rooms}) * $z->{block_size} / $n;

        cmp_ok($each, '<=', 160, "$each bytes of the zone for each member");

        my %rss   = map { $_ => $nginx->rss($_) } @stay;
        my $sends = status()->{counters}{sends};

        $nginx->kill_worker($dies);

        my $r = $crowd->until(sub {
            !grep { $_->{listed} } @{ $_[0]{seers} }
        }, 40);

        my $most = check_leaves($r, $channel, network => $n);

        $sends = status()->{counters}{sends} - $sends;
        cmp_ok($sends, '<=', $eyes * $most,
               "$sends writes for those who see it");

        for (@stay) {
            my $more = $nginx->rss($_) - $rss{$_};
            cmp_ok($more, '<', $grown, "$more bytes more of worker $_");
        }

        is(listed($channel), 0, 'nobody is listed');
        is(status()->{zone}{members}, 0, 'nobody is kept');

        $crowd->act("bye 0 $all");
        free_again($free);
        $crowd->stop;
    };
}


subtest 'all come back' => sub {
    setup('12s');

    my ($dies, @stay) = $nginx->worker_pids;
    my $free = status()->{zone}{free};

    gather('crowd', $dies, @stay);

    my ($from, $to) = ($all + 1, $all + 1 + $both);

    $crowd->on_worker($dies, "open $from $to member,sees");
    $crowd->until(sub {
        !grep { $_->{listed} != $n + $both } @{ $_[0]{seers} }
    });
    $crowd->act('zero');

    $nginx->kill_worker($dies);

    my $r = $crowd->until(sub { $_[0]{in} == $eyes });
    is($r->{downs}, $n + $both, 'all are cut');

    $crowd->act("resume $from $to");
    $r = $crowd->act("resume $eyes $all");
    ok($r->{ok}, 'all come back') or diag($r->{why});
    is($r->{in}, $all + $both, 'so many');
    is($r->{resumed}, $n + $both, 'as who they were');
    is($r->{recovered}, $n + $both, 'where they were');

    $r = barrier('crowd', $all + $both);
    is($r->{messages}, $all + $both, 'each is told a message, once');
    is_deeply([ map { $_->{changes} } @{ $r->{seers} } ],
              [ (0) x ($eyes + $both) ], 'no change of members is told');
    is_deeply([ map { $_->{frames} } grep { $_->{n} < $eyes }
                @{ $r->{seers} } ], [ (1) x $eyes ],
              'to those who stayed nothing but the message is');
    is_deeply([ map { $_->{listed} } @{ $r->{seers} } ],
              [ ($n + $both) x ($eyes + $both) ],
              'who came back and sees has the whole list');

    $crowd->act("bye $from $to");
    $crowd->until(sub {
        !grep { $_->{listed} != $n } @{ $_[0]{seers} }
    });
    is(status()->{zone}{seats_lingering}, 0, 'nobody is waited for');
    is(listed('crowd'), $n, 'all are listed');
    told_anew('crowd', $n);

    # now one with some of them, of whom a part returns

    $crowd->act('zero');
    my ($new) = grep { my $pid = $_; !grep { $_ == $pid } @stay }
                $nginx->worker_pids;

    # the status is told by each worker once a second

    my $lost;

    ok(wait_for(sub {
        my %has = map { $_->{pid} => $_->{sessions} } @{ status()->{workers} };
        my $sum = 0;

        $sum += $_ for values %has;
        $lost = $has{$new};
        $sum == $all && $lost;
    }), 'the new worker has some of them');

    $nginx->kill_worker($new);

    $r = $crowd->until(sub { $_[0]{downs} == $lost });
    is($r->{downs}, $lost, 'all of these are cut');

    my $middle = int($all / 2);

    $r = $crowd->act("resume $eyes $middle");
    ok($r->{ok}, 'a part of those who were cut comes back') or diag($r->{why});

    my $gone = $all - $r->{in};
    my $here = $n - $gone;

    cmp_ok($gone, '>', 0, "$lost were cut, $gone do not come back");
    cmp_ok($gone, '<', $lost, 'others do');

    $r = $crowd->until(sub {
        !grep { $_->{listed} != $here } @{ $_[0]{seers} }
    }, 40);
    check_leaves($r, 'a part', network => $gone);
    is(listed('crowd'), $here, 'the others are listed');

    $crowd->act('zero');
    $crowd->act("bye $eyes $all");
    $r = $crowd->until(sub { !grep { $_->{listed} } @{ $_[0]{seers} } });
    check_leaves($r, 'closed', intentional => $here);

    $crowd->act("bye 0 $all");
    free_again($free);
    $crowd->stop;
};


done_testing;
