#!/usr/bin/env perl

# fanout_hook with events: if this fails, a backend believes that somebody is
# there who is not, or misses that somebody came or went, or hears of it in the
# wrong order; or it is asked in vain while it is down and never again; or what
# it was to be told is gone with a worker that died.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::Nginx;


my $ALL = 'connect disconnect join leave first-in last-out occupied vacated';

my $backend = Fanout::HookBackend->start;
my $port    = $backend->port;

my $http = <<'END';
    fanout_zone app 32m;
    fanout_channel app quiet:* hooks=off;
    fanout_channel app slow:* linger=1s presence=on;
    fanout_channel app * linger=1s;
END

sub server {
    my ($hook) = @_;

    return <<"END";
    $hook
    location = /events { internal; proxy_pass http://127.0.0.1:$port; }
    location = /nowhere { internal; return 503; }
    location /realtime {
        fanout app; fanout_permit all *; fanout_user \$arg_user;
        fanout_resume 3s; fanout_drain 1s; fanout_channels_per_session 1000;
    }
    location /fanout/ { fanout_api app; }
    location = /status { fanout_status app; }
END
}

my $nginx = Fanout::Nginx->start(
    workers => 3, http => $http,
    server  => server("fanout_hook app /events $ALL retry=1s;"),
);

$nginx->allow(qr/fanout_hook "[^"]*" (?:answered|did not answer)/);
$nginx->allow(qr/connect\(\) failed|prematurely closed|reset by peer/);


sub status { $nginx->http->get('/status')->json->{zone} }

sub ann { my ($user, @o) = @_; $nginx->native(path => "/realtime?user=$user", @o) }

# all that was told, each once, in the order in which it was first told

my %worse;

sub told {
    my (%seen, @events);

    for my $call ($backend->calls) {
        for my $e (@{ $call->{events} }) {
            next if $seen{ $e->{id} }++;
            push @events, $e;
        }
    }

    return @events;
}

sub lost { my $n = 0; $n += $_->{lost} for $backend->calls; $n }

sub short {
    return join ' ', map {
        join ':', grep { defined } @{$_}{qw( event channel user reason )},
                  $_->{resumed} ? 'resumed' : undef
    } @_;
}

sub wait_told {
    my ($n) = @_;

    return Fanout::Nginx::wait_for(sub { told() >= $n }, 30);
}

sub wait_empty {
    return Fanout::Nginx::wait_for(sub { !status()->{events_queued} }, 30);
}

# what nobody can have seen: checks each client's and each channel's story

sub impossible {
    my ($strict, @events) = @_;

    my (%on, %at, %n, %users, @wrong);

    for my $e (@events) {
        my ($what, $c, $ch) = @{$e}{qw( event client channel )};
        my $u = $e->{user};

        if ($what eq 'connect') {
            push @wrong, "$c connects twice" if $on{$c}++;

        } elsif ($what eq 'disconnect') {
            push @wrong, "$c disconnects twice" if !delete $on{$c};

        } elsif ($what eq 'join') {
            push @wrong, "$c joins $ch twice" if $at{$ch}{$c}++;
            $n{$ch}++;
            $users{$ch}{$u}++ if defined $u;

        } elsif ($what eq 'leave') {
            push @wrong, "$c leaves $ch twice" if !delete $at{$ch}{$c};
            $n{$ch}--;
            $users{$ch}{$u}-- if defined $u;

        } elsif ($what eq 'occupied') {
            push @wrong, "$ch occupied by the " . ($n{$ch} + 1) if $n{$ch};

        } elsif ($what eq 'vacated') {
            push @wrong, "$ch vacated with $n{$ch}" if $n{$ch};

        } elsif ($what eq 'first-in') {
            push @wrong, "$u is in $ch already" if $users{$ch}{$u};

        } elsif ($what eq 'last-out') {
            push @wrong, "$u still is in $ch" if $users{$ch}{$u};
        }
    }

    if ($strict) {
        push @wrong, "$_ is connected" for keys %on;
        push @wrong, map { my $ch = $_; map { "$_ is on $ch" } keys %{ $at{$ch} } }
                     keys %at;
    }

    return "@wrong";
}


subtest 'what is told, and in which order' => sub {
    my $a = ann('ann');
    $a->ok('join', channel => 'room');

    my $b = ann('ann');
    $b->ok('join', channel => 'room');

    my $c = ann('bob');
    $c->ok('join', channel => 'room');
    $c->ok('join', channel => 'room');

    $a->ok('leave', channel => 'room');
    $b->ok('leave', channel => 'room');
    $c->ok('leave', channel => 'room');

    $_->close for $a, $b, $c;

    ok(wait_told(18), 'all is told');

    my @events = told();

    is(short(@events[0 .. 12]),
       'connect:ann occupied:room:ann first-in:room:ann join:room:ann '
       . 'connect:ann join:room:ann '
       . 'connect:bob first-in:room:bob join:room:bob '
       . 'leave:room:ann:intentional leave:room:ann:intentional '
       . 'last-out:room:ann:intentional leave:room:bob:intentional',
       'in the order in which it happened');

    is(short(@events[13 .. 14]), 'last-out:room:bob:intentional '
       . 'vacated:room:bob:intentional', 'the last of the user and of all');

    is(impossible(1, @events), '', 'nothing that can not be');

    my ($first) = $backend->calls;

    is($first->{zone}, 'app', 'the zone');
    like($first->{epoch}, qr/^[0-9a-f]{16}$/, 'the epoch');
    is($first->{lost}, 0, 'nothing lost');
    like($events[0]{id}, qr/^$first->{epoch}:1:connect$/, 'an id');
    is($events[0]{client}, $a->client, 'the client');
    cmp_ok(abs($events[0]{time} / 1000 - Time::HiRes::time()), '<', 60,
           'the time');

    my ($raw) = $backend->requests;
    like($raw, qr{^POST /events HTTP/1}, 'a POST');
    like($raw, qr{^Content-Type: application/json\r$}m, 'of JSON');
};


subtest 'cut, resumed, given up, kicked' => sub {
    $backend->forget;

    my $a = ann('ann');
    $a->ok('join', channel => 'room');
    my ($token, $id) = ($a->resume, $a->client);
    undef $a;

    ok(wait_told(5), 'the cut is told');

    my $b = ann('ann', resume => $token);
    is($b->client, $id, 'it comes back');
    $b->ok('join', channel => 'room');

    ok(wait_told(6), 'so is that');
    is(short(told()), 'connect:ann occupied:room:ann first-in:room:ann '
       . 'join:room:ann disconnect:ann:network connect:ann:resumed',
       'the connection goes and comes, the seat does not');

    $token = $b->resume;
    my $c = ann('ann', resume => $token);
    ok(wait_told(8), 'taken over');
    is(short((told())[6, 7]), 'disconnect:ann:replaced connect:ann:resumed',
       'by another connection');

    is($nginx->http->delete("/fanout/clients/$id")->{status}, 200,
       'disconnected by the API');
    ok(wait_told(12), 'told');
    is(short((told())[8 .. 11]), 'leave:room:ann:kicked last-out:room:ann:kicked '
       . 'vacated:room:ann:kicked disconnect:ann:kicked', 'with the reason');

    $backend->forget;

    my $d = ann('dan');
    $d->ok('join', channel => 'room');
    undef $d;

    ok(wait_told(8), 'cut, and not back');
    is(short(told()), 'connect:dan occupied:room:dan first-in:room:dan '
       . 'join:room:dan disconnect:dan:network leave:room:dan:network '
       . 'last-out:room:dan:network vacated:room:dan:network',
       'leaves after its linger');
};


subtest 'who says goodbye and does not wait for the answer' => sub {
    $backend->forget;

    my $a = ann('eve');
    my $worker = $nginx->worker_of($a);

    $a->ok('join', channel => 'room');

    # so that both are there when it is looked at

    $nginx->signal($worker, 'STOP');
    ok(Fanout::Nginx::wait_for(sub { Fanout::Nginx::halted($worker) }),
       'stopped');
    $a->send_close(1000);
    $a->disconnect;
    $nginx->signal($worker, 'CONT');

    ok(wait_told(8), 'told');
    is(short((told())[4 .. 7]), 'leave:room:eve:intentional '
       . 'last-out:room:eve:intentional vacated:room:eve:intentional '
       . 'disconnect:eve:intentional', 'left by its own will, at once');
};


subtest 'what is not to be told' => sub {
    $backend->forget;

    my $a = $nginx->native(path => '/realtime');
    $a->ok('join', channel => 'quiet:1');
    $a->ok('join', channel => 'room');
    $a->close;

    ok(wait_told(6), 'told');
    is(short(told()), 'connect occupied:room join:room leave:room:intentional '
       . 'vacated:room:intentional disconnect:intentional',
       'hooks=off, and no user');
};


subtest 'many at once, from all workers' => sub {
    $backend->forget;

    my @c;

    for my $i (0 .. 59) {
        my $c = ann('u' . $i % 20);
        push @c, $c;
        $c->send_cmd('join', channel => "r$_") for 0 .. 4;
    }

    for my $c (@c) {
        $c->reply($_) for 1 .. 5;
    }

    for my $c (@c[0 .. 29]) {
        $c->send_cmd('leave', channel => "r$_") for 0 .. 4;
    }

    $_->close for @c;

    ok(wait_told(2 * 60 + 2 * 5 * 60 + 2 * 5 * 20 + 2 * 5), 'all is told');
    ok(wait_empty(), 'the queue is empty');

    my @events = told();
    is(@events, 2 * 60 + 2 * 5 * 60 + 2 * 5 * 20 + 2 * 5, 'and no more');
    is(impossible(1, @events), '', 'in an order that can be');

    my $calls = $backend->calls;
    cmp_ok($calls, '<', @events / 3, "in few calls ($calls)");

    my %ids;
    $ids{ $_->{id} }++ for map { @{ $_->{events} } } $backend->calls;
    is(keys %ids, @events, 'each once');
    is_deeply([ grep { $ids{$_} > 1 } keys %ids ], [], 'nothing twice');
};


subtest 'the backend is down under load, and comes back' => sub {
    $backend->forget;
    $backend->stop;

    my $start = time;
    my $n = 0;

    # ten seconds of it

    while (time - $start < 10) {
        my $c = ann('u' . $n % 7);
        $c->ok('join', channel => 'room' . $n % 3);
        $c->close;
        $n++;
        sleep 0.02;
    }

    my $s = status();
    cmp_ok($s->{events_queued}, '>=', 3 * $n, 'all of it waits');
    cmp_ok($s->{events_lag}, '>', 8000, "the status shows the lag ($s->{events_lag})");
    is($s->{events_limit}, 10000, 'and how many may');
    ok($s->{events_leader}, 'and who delivers');

    $backend->begin;

    ok(wait_empty(), 'all is taken');
    is(status()->{events_lag}, 0, 'no lag');

    my @events = told();
    is(grep({ $_->{event} eq 'connect' } @events), $n, "all $n connects");
    is(grep({ $_->{event} eq 'leave' } @events), $n, 'all leaves');
    is(impossible(1, @events), '', 'in order');
    is(lost(), 0, 'nothing lost');
};


subtest 'errors, and the same again' => sub {
    $backend->forget;
    $backend->does(send => response(500));

    my $a = ann('ann');
    $a->ok('join', channel => 'room');
    ok($backend->wait_calls(2), 'asked again after an error');

    $backend->does(close => 1);
    my $n = $backend->calls;
    ok($backend->wait_calls($n + 1), 'after a connection closed');

    $backend->does(send => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
                   close => 1);
    $n = $backend->calls;
    ok($backend->wait_calls($n + 1), 'after an answer cut off');

    $backend->does(send => response(200, [], 'x' x 1_500_000));
    $n = $backend->calls;
    ok($backend->wait_calls($n + 1), 'after too large an answer');

    $backend->does(send => response(204));
    ok(wait_empty(), 'taken at last');

    my @calls = $backend->calls;
    is($calls[0]{events}[0]{id}, $calls[1]{events}[0]{id},
       'the same was sent, with the same id');
    is(impossible(0, told()), '', 'in order');

    $backend->does(send => response(200, [], '{"what":"ever'));
    $a->close;
    ok(wait_told(8), 'the body of an answer is not read');
    ok(wait_empty(), 'all taken');
    $backend->does;
};


subtest 'a worker dies: the one that delivers, with its clients' => sub {
    $backend->forget;

    my @c;

    for my $i (0 .. 29) {
        my $c = ann("u$i");
        $c->ok('join', channel => 'room');
        push @c, $c;
    }

    ok(wait_empty(), 'told');

    # nothing is taken while it dies

    $backend->does(send => response(503));
    $c[0]->ok('leave', channel => 'room');

    my $leader = status()->{events_leader};
    ok($nginx->kill_worker($leader), 'it dies');
    ok(Fanout::Nginx::wait_for(sub {
        my $now = status()->{events_leader};
        return $now && $now != $leader;
    }, 20), 'another delivers');

    $backend->does;
    sleep 0.1;
    $_->close for grep { !$_->eof } @c;

    ok(Fanout::Nginx::wait_for(sub {
        grep({ $_->{event} eq 'vacated' } told())
            && !status()->{events_queued};
    }, 40), 'all left');

    my @events = told();
    is(impossible(1, @events), '', 'nothing that can not be, nobody forgotten');
    is(lost(), 0, 'nothing lost');
};


subtest 'a worker that delivers is stopped' => sub {
    $backend->forget;

    my $leader = status()->{events_leader};
    my $a;

    # on another worker

    for (1 .. 50) {
        $a = ann('ann');
        last if $nginx->worker_of($a) != $leader;
    }

    ok(wait_empty(), 'all told');
    $nginx->signal($leader, 'STOP');
    ok(Fanout::Nginx::wait_for(sub { Fanout::Nginx::halted($leader) }), 'stopped');

    $a->ok('join', channel => 'room');

    ok(Fanout::Nginx::wait_for(sub {
        grep { $_->{event} eq 'join' } told()
    }, 40), 'told by another');

    $nginx->signal($leader, 'CONT');
    $a->close;

    ok(Fanout::Nginx::wait_for(sub {
        grep({ $_->{event} eq 'vacated' } told())
            && !status()->{events_queued};
    }, 20), 'all told');
    is(impossible(0, told()), '', 'in order');
};


subtest 'reloads' => sub {
    $backend->forget;

    my @c;

    for my $round (1 .. 3) {
        my $c = ann("u$round");
        $c->ok('join', channel => 'room');
        push @c, $c;
        $nginx->reload;
        $c = ann("v$round");
        $c->ok('join', channel => 'room');
        $c->close;
    }

    undef @c;

    ok(Fanout::Nginx::wait_for(sub {
        grep({ $_->{event} eq 'vacated' } told())
            && !status()->{events_queued};
    }, 40), 'all left');

    my @events = told();
    is(impossible(1, @events), '', 'in order, nobody forgotten');
    is(lost(), 0, 'nothing lost');
};


# Who exits wakes the others: the first of them that has had its turn leads, and
# none has to wait for a clock.

subtest 'a graceful exit hands over at once' => sub {
    ok(wait_empty(), 'taken');
    $backend->does(send => response(503));

    my $a = ann('ann');
    $a->ok('join', channel => 'room');
    $a->close;

    for my $round (1 .. 5) {
        $nginx->reload(wait_old => 1);

        my $leader = 0;

        for my $pid ($nginx->worker_pids) {
            my $http = $nginx->http(worker => $pid);

            for (1 .. 2) {
                $leader = $http->get('/status')->json->{zone}{events_leader};
            }
        }

        ok((grep { $_ == $leader } $nginx->worker_pids),
           "round $round: somebody leads");
    }

    $backend->does;
    ok(wait_empty(), 'taken');
};


subtest 'more than the queue holds' => sub {
    $nginx->reload(wait_old => 1, server => server(
        "fanout_hook app /events join leave queue=20 retry=1s batch=7;"));

    ok(wait_empty(), 'taken');
    $backend->forget;
    $backend->stop;

    my $a = ann('ann');

    for (1 .. 50) {
        $a->ok('join', channel => 'room');
        $a->ok('leave', channel => 'room');
    }

    my $s = status();
    is($s->{events_queued}, 20, 'the queue is full');
    is($s->{events_limit}, 20, 'of its limit');

    $backend->begin;
    ok(wait_empty(), 'taken');

    my @events = told();
    my @calls = $backend->calls;

    is(@events, 20, 'the latest are there');
    is(lost(), 80, 'and the backend knows how many are not');
    is(status()->{events_lost}, 80, 'so does the status');
    is($calls[0]{lost}, 80, 'at once');
    is(scalar(@{ $calls[0]{events} }), 7, 'in batches');
    is(short(@events[18, 19]), 'join:room:ann leave:room:ann:intentional',
       'only what was asked for');
};


subtest 'no hook any more, and one again' => sub {
    $backend->stop;

    my $a = ann('ann');
    $a->ok('join', channel => 'room');

    $nginx->reload(wait_old => 1, server => server(''));
    ok(Fanout::Nginx::wait_for(sub { !status()->{events_queued} }),
       'nothing waits for nobody');
    is(status()->{events_limit}, 0, 'nothing is asked for');

    $backend->begin;
    $backend->forget;

    $nginx->reload(wait_old => 1, server => server("fanout_hook app /events $ALL;"));

    my $b = ann('bob');
    $b->ok('join', channel => 'other');
    ok(wait_told(4), 'told again');
    is(short((told())[-4 .. -1]), 'connect:bob occupied:other:bob '
       . 'first-in:other:bob join:other:bob', 'what comes now');
    $b->close;
};


subtest 'a location that says no' => sub {
    $nginx->reload(wait_old => 1, server => server("fanout_hook app /nowhere join retry=5s;"));

    my $before = $nginx->http->get('/status')->json->{counters};
    my $a = ann('ann');
    $a->ok('join', channel => 'room');

    ok(Fanout::Nginx::wait_for(sub {
        my $now = $nginx->http->get('/status')->json->{counters};
        return $now->{hook_failures} >= $before->{hook_failures} + 2;
    }), 'is counted');
    ok($nginx->log_like(qr/fanout_hook "\/nowhere" answered 503 to \d+ events/),
       'and logged');
    ok($nginx->wait_log(qr/"\/nowhere" .* again in $_ ms/), "again in $_ ms")
        for 1000, 2000, 4000, 5000;
    is($a->cmd('ping')->{error}, undef, 'and harms nobody');
};


done_testing();
