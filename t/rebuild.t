#!/usr/bin/env perl

# A worker dies inside a section, and leaves a damaged zone: if this fails,
# clients that wait for a lock wait for ever, two of them get the same token, or
# what is acknowledged afterwards is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw( tempdir );

use Fanout::Nginx;


plan(skip_all => 'the module is linked in, with sanitizers')
    if defined $ENV{TEST_NGINX_MODULE} && $ENV{TEST_NGINX_MODULE} eq '';

my $ROUNDS = 3;
my $LOCKS  = 4;

my $dir = tempdir('fanout-rebuild-XXXXXX', TMPDIR => 1, CLEANUP => 1);

system($ENV{CC} || 'cc', qw( -O2 -Wall -fPIC -shared ), "-I$FindBin::Bin/../src",
       '-o', "$dir/damage.so", "$FindBin::Bin/lib/damage.c", '-ldl') == 0
    or die "damage.c: $?\n";

open my $control, '+>', "$dir/victim" or die "victim: $!";

sub victim {
    sysseek $control, 0, 0;
    syswrite $control, pack 'l', $_[0];
}

victim(0);


my $nginx = do {
    local $ENV{FANOUT_TEST_DAMAGE} = "$dir/victim";
    local $ENV{LD_PRELOAD} = "$dir/damage.so";

    Fanout::Nginx->start(
        main   => 'env FANOUT_TEST_DAMAGE; env LD_PRELOAD;',
        http   => <<'END',
            fanout_zone app 8m;
            fanout_channel app t records=on locks=10m linger=60s history=100;
            fanout_rate off;
            fanout_budget off;
END
        server => <<'END',
            location /rt { fanout app; fanout_user $arg_user; fanout_permit all *; }
            location /fanout { fanout_api app; }
            location = /status { fanout_status app; }
END
    );
};

$nginx->allow(qr/zone "app" was rebuilt empty/,
              qr/worker process \d+ exited on signal/);


my $highest = 0;
my @early;                              # tokens that are not above the last

sub granted {
    my ($token) = @_;

    push @early, "$token after $highest" if $token <= $highest;
    $highest = $token if $token > $highest;
}


sub client {
    my ($worker, $user) = @_;

    my $c = $nginx->native(path => "/rt?user=$user", worker => $worker);
    $c->ok('join', channel => 't');

    return $c;
}


sub take {
    my ($c, $name) = @_;

    my $ok = $c->ok('lock', channel => 't', name => $name, ttl => 600_000);
    granted($ok->{token}) if !$ok->{renewed};

    return $ok;
}


sub ask_wait {
    my ($c, $name) = @_;

    return $c->send_cmd('lock', channel => 't', name => $name,
                        ttl => 600_000, wait => 300_000);
}


sub incarnation { $nginx->http->get('/status')->json->{zone}{incarnation} }


# Half of the locks have a holder on the worker that dies, half on the other;
# for each wait one client on the worker that dies, and two on the other.

sub one_round {
    my ($dying, $other) = $nginx->worker_pids;

    my %on = map { my $w = $_;
                   $w => [ map { client($w, "u$w-$_") } 1 .. 3 ] }
             $dying, $other;

    take($on{ $_ % 2 ? $dying : $other }[0], "l$_") for 1 .. $LOCKS;

    my @lost  = map { [ $on{$dying}[1], ask_wait($on{$dying}[1], "l$_") ] }
                1 .. $LOCKS;
    my @waits = map { my $name = "l$_";
                      map { [ $on{$other}[$_], ask_wait($on{$other}[$_], $name),
                              $name ] } 1, 2 }
                1 .. $LOCKS;

    ok(wait_for(sub {
        my $zone = $nginx->http->get('/status')->json->{zone};
        return $zone->{lock_waiters} == 3 * $LOCKS;
    }), 'all are in line');

    my $before = incarnation();

    victim($dying);
    eval { $on{$dying}[2]->cmd('set', channel => 't', record => 'r',
                               set => { a => 1 }) };

    ok($nginx->wait_gone(10, $dying), 'the worker dies');
    ok(wait_for(sub { $nginx->worker_pids == 2 }), 'there is another');
    isnt(incarnation(), $before, 'the zone is rebuilt');

    for (@waits) {
        my ($c, $id, $name) = @$_;
        my $r = $c->reply($id);

        is($r && $r->{error} && $r->{error}{code}, 'not_holder',
           "who waited for $name is told") or diag(explain($r));
    }

    my $reset = $on{$other}[1]->next_where(sub { $_[0]{reset} });

    is($reset && $reset->{reset}{reason} || $reset->{reason}, 'rebuilt',
       'and all that they begin anew') or diag(explain($reset));

    for (@lost) {
        my ($c, $id) = @$_;
        my $r = $c->reply($id);
        ok(!$r && $c->eof, 'who was on the worker that died is cut');
    }

    return @{ $on{$other} };
}


# Nobody holds anything now; the same clients, with the same connections.

sub ask_again {
    my ($holder, $first, $second) = @_;

    my $read = $holder->ok('get', channel => 't', locks => \1);
    is_deeply($read->{locks}, [], 'no lock is left');

    for my $n (1 .. $LOCKS) {
        my $name = "l$n";

        take($holder, $name);

        my @ids = map { ask_wait($_, $name) } $first, $second;

        # the second one is in line behind the first

        is($second->cmd('lock', channel => 't', name => $name)->{error}{code},
           'locked', "$name is taken again");

        for ([ $holder, $first, $ids[0] ], [ $first, $second, $ids[1] ]) {
            my ($has, $gets, $id) = @$_;

            $has->ok('unlock', channel => 't', name => $name);
            my $r = $gets->reply($id);
            ok($r && $r->{ok}, "$name is passed on") or diag(explain($r));
            granted($r->{ok}{token}) if $r && $r->{ok};
        }

        $second->ok('unlock', channel => 't', name => $name);
    }
}


for my $n (1 .. $ROUNDS) {
    subtest "rebuild $n" => sub {
        my @clients = one_round();
        ask_again(@clients);

        my $set = $clients[0]->ok('set', channel => 't', record => 'r',
                                  set => { n => $n });
        is($clients[1]->ok('get', channel => 't', record => 'r')
                      ->{records}{r}{version},
           $set->{version}, 'records can be set');

        $_->close for @clients;
    };
}

is_deeply(\@early, [], 'each token is above all before, over every rebuild');

$nginx->done_testing;
