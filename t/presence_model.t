#!/usr/bin/env perl

# Presence under everything that can happen to it at once, against a model. If
# this fails, somebody sees a ghost, misses somebody who is there, or is told
# what can't be, after some history of joins, cuts, crashes and reloads.
#
# SEED=n does the same steps again (what the kernel makes of them is another
# matter), OPS=n does at most so many of them, SECONDS=n for so long at most.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::ModelClient;
use Fanout::Nginx;


my $seed     = $ENV{SEED} // int(time * 1000) % 2 ** 31;
my $ops      = $ENV{OPS} || 2000;
my $seconds  = $ENV{SECONDS} || 25;
my $workers  = 5;
my $linger   = 3;
my @channels = map { "room:$_" } 1 .. 4;
my @keys     = ('', '', '', 'phone', 'tab "2"');

srand $seed;
diag("SEED=$seed OPS=$ops");

my $nginx = Fanout::Nginx->start(
    workers => $workers,
    http    => "fanout_zone app 32m;
                fanout_channel app room:* presence=on linger=${linger}s
                                          batch=10ms;",
    server  => 'location /rt { fanout app; fanout_user $arg_user;
                               fanout_permit all *;
                               fanout_ping 1s; fanout_timeout 2s;
                               fanout_resume 10s; fanout_drain 1s; }
                location /api/ { fanout_api app; }
                location = /status { fanout_status app; }',
    allow   => [ qr/worker process \d+ exited on signal 9/ ],
);

my @clients = map {
    Fanout::ModelClient->new(port => $nginx->port, linger => $linger,
                             path => '/rt?user=u' . int($_ / 2));
} 1 .. 40;

my (%count, %stopped);


# What has come, for so long at most

sub pump {
    my ($seconds) = @_;

    my %of = map { fileno($_->sock) => $_ }
             grep { $_->sock && !$_->none && $_->{state} ne 'mute' } @clients;

    my @ready = IO::Select->new(map { $_->sock } values %of)
                          ->can_read($seconds);
    my $now   = time;

    $_->pump for map { delete $of{ fileno $_ } } @ready;
    $_->alive($now) for values %of;
}


sub faults { map { $_->faults } @clients }

sub told {
    my $n = 0;

    $n += $_->{changes} for @clients;

    return $n;
}


# A worker that is there, by a number

sub worker {
    my ($n) = @_;

    my @pids = $nginx->worker_pids;

    return @pids ? $pids[ $n * @pids ] : 0;
}


my %world = (
    kill => sub {
        my $pid = worker($_[0]) or return;

        return if $stopped{$pid};

        kill 'KILL', $pid;
    },
    stop => sub {
        my $pid = worker($_[0]) or return;

        return if %stopped;

        $stopped{$pid} = time + 0.1 + 2 * $_[1];
        $nginx->signal($pid, 'STOP');
    },
    reload => sub {
        return if $nginx->stopping_pids;
        kill 'HUP', $nginx->master_pid;
    },
);

my %deed = (
    join => sub {
        my ($c, $at, $key, $n) = @_;
        $c->join($at, key => $key, data => { n => $n });
    },
    watch => sub { $_[0]->join($_[1]) },
    update => sub {
        my ($c, $at, $key, $n) = @_;
        $c->update($at, $key, { n => $n, text => 'x' x ($n % 50) });
    },
    merge => sub {
        my ($c, $at, $key, $n) = @_;
        $c->merge($at, $key, { chr(97 + $n % 5) => $n,
                               chr(97 + $n % 3) => undef });
    },
    state => sub {
        my ($c, $at, $key, $n) = @_;
        $c->state($at, $key, $n % 2 ? 'idle' : 'active');
    },
    withdraw => sub { $_[0]->withdraw($_[1], $_[2]) },
    leave => sub { $_[0]->leave($_[1]) },
    read => sub { $_[0]->read($_[1]) },
    cut => sub { $_[0]->cut },
    fin => sub { $_[0]->fin },
    finish => sub { $_[0]->finish },
    mute => sub {
        $_[0]{muted} = time;
        $_[0]->mute;
    },
);

my %weight = (
    join => 12, watch => 4, update => 20, merge => 15, state => 8,
    withdraw => 4, leave => 4, read => 6, cut => 1.5, fin => 1, finish => 1,
    mute => 0.4, kill => 0.25, stop => 0.15, reload => 0.06,
);

my @deck = map { ($_) x (100 * $weight{$_}) } sort keys %weight;


# Each step takes as many random numbers, whatever state the client is in

sub step {
    my ($what, $who, $where, $key, $n, $more) = map { rand } 1 .. 6;

    $what = $deck[ $what * @deck ];

    if ($world{$what}) {
        $count{$what}++;
        return $world{$what}->($n, $more);
    }

    my $c  = $clients[ $who * @clients ];
    my $at = $channels[ $where * @channels ];

    $key = $keys[ $key * @keys ];

    if ($c->none) {
        $c->forget if $more >= 0.8;
        $count{ $more < 0.8 ? 'back' : 'new' }++;
        return $c->open($more < 0.8);
    }

    return if !$c->up;

    if (!$c->knows($at) && $what !~ /^(?:join|watch|cut|fin|finish|mute)$/) {
        $what = 'join';
    }

    return if keys %{ $c->{wait} } > 8;
    return if $what =~ /^(?:leave)$/
              && grep { $_->{channel} eq $at } values %{ $c->{wait} };

    $count{$what}++;
    $deed{$what}->($c, $at, $key, int 1000 * $n);
}


# What the world does by itself: who was stopped goes on, who is half-open is
# let go in the end

sub tick {
    for my $pid (grep { $stopped{$_} < time } keys %stopped) {
        $nginx->signal($pid, 'CONT');
        delete $stopped{$pid};
    }

    for my $c (@clients) {
        $c->fin if $c->{state} eq 'mute' && $c->{muted} < time - 4;
    }
}


# In what client, which waits for nothing, sees, and in what it should see

sub wrong {
    my (%want, @wrong);

    for my $at (@channels) {
        $want{$at} = { map { %{ $_->own($at) } } @clients };
    }

    for my $c (grep { $_->up } @clients) {
        for my $at (grep { $c->joined($_) } @channels) {
            push @wrong, differ("what " . $c->client . " sees of $at",
                                $c->list($at) || { stale => 1 }, $want{$at});
        }
    }

    return (\%want, @wrong);
}


sub differ {
    my ($what, $have, $want) = @_;

    my @wrong;

    for (sort keys %{ { %$have, %$want } }) {
        my $h = $have->{$_} // 'nobody';
        my $w = $want->{$_} // 'nobody';

        push @wrong, "$what: $_ is $h, not $w" if $h ne $w;
    }

    return @wrong;
}


sub plain_list {
    return { map {
        ("$_->{client}/" . ($_->{key} // '') => Fanout::ModelClient::plain($_))
    } @_ };
}


my $incarnation = $nginx->http->get('/status')->json->{zone}{incarnation};
my $began = time;
my $steps = 0;

while ($steps < $ops && !faults()) {
    last if time - $began > $seconds && $steps >= 200;

    step();
    pump(0.003);
    tick() if ++$steps % 20 == 0;
}

diag(sprintf '%d steps in %.1f s: %s', $steps, time - $began,
     join ', ', map { "$count{$_} $_" } sort keys %count);

my @faults = faults();

ok(!@faults, "nobody was told what can't be")
    or diag(join "\n", "SEED=$seed OPS=$ops", splice @faults, 0, 20);


# Everybody goes on; of those who are away each second one comes back

$nginx->signal($_, 'CONT') for keys %stopped;
%stopped = ();

ok(wait_for(sub { $nginx->worker_pids == $workers }, 20),
   'as many workers as before');

for my $i (0 .. $#clients) {
    my $c = $clients[$i];

    $c->fin if $c->{state} eq 'mute';
    $c->open(1) if $c->none && $i % 2;
}

my ($want, @wrong);

my $settled = wait_for(sub {
    my $until = time + 0.2;

    pump(0.02) while time < $until;

    for (0 .. $#clients) {
        $clients[$_]->open(1) if $clients[$_]->none && $_ % 2;
    }

    return 0 if grep { !$_->none && (!$_->up || !$_->idle) } @clients;

    ($want, @wrong) = wrong();
    return !@wrong;
}, 30);

ok($settled, 'all see the same, which is what the model says')
    or diag(join "\n", "SEED=$seed OPS=$ops", splice @wrong, 0, 20);

# Nothing more is to come

my $told  = told();
my $until = time + 0.5;

pump(0.02) while time < $until;
is(told(), $told, 'and it stays like that');

cmp_ok(scalar(grep { $_->up } @clients), '>=', 15, 'some are still there');
cmp_ok(scalar(map { keys %$_ } values %$want), '>=', 10, 'with members');

for my $pid ($nginx->worker_pids) {
    my $fresh = $nginx->native(path => '/rt?user=fresh', worker => $pid);

    for my $at (@channels) {
        my $r = $fresh->cmd('members', channel => $at);
        my $list = plain_list(map { @{ $_->{members} || [] } }
                              @{ $r->{part} || [] }, $r->{ok});

        is_deeply($list, $want->{$at}, "$at by a worker");
    }

    $fresh->close(1000);
}

for my $at (@channels) {
    my $r = $nginx->http->get('/api/channels/' . ($at =~ s/:/%3A/r)
                              . '/presence?limit=1000')->json;

    is_deeply(plain_list(@{ $r->{members} }), $want->{$at}, "$at by the API");
    is($r->{count}, keys %{ $want->{$at} }, "and counted");
}


# The test has done what it is for

my %sum;

for my $c (@clients) {
    $sum{$_} += $c->{$_} || 0 for qw( changes resumed again looks gaps );
}

diag(join ', ', map { "$sum{$_} $_" } sort keys %sum);
cmp_ok($sum{changes}, '>', $steps, 'changes were told');
cmp_ok($sum{resumed}, '>', $steps / 200, 'sessions were resumed');
cmp_ok($sum{looks}, '>', $steps / 200, 'lists were compared meanwhile');

@faults = faults();
ok(!@faults, "nor afterwards what can't be")
    or diag(join "\n", "SEED=$seed OPS=$ops", splice @faults, 0, 20);
is($nginx->http->get('/status')->json->{zone}{incarnation}, $incarnation,
   'the zone was never rebuilt');
