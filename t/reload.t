#!/usr/bin/env perl

# Reload: if this fails, "nginx -s reload" loses messages, history or a
# client's place, throws all clients out at the same moment, leaves workers
# behind, or a mistyped configuration hurts those who are connected.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw( encode_base64 );
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Swarm;


my $reloads = $ENV{TEST_LONG} ? 60 : 15;

my $http = 'fanout_zone app 64m; fanout_rate off; fanout_budget off;
            fanout_channel app * history=100000 ttl=1h;';

my $nginx = Fanout::Nginx->start(
    http   => $http,
    server => server('2s'),
);


sub server {
    my ($drain) = @_;

    return "location /rt { fanout app; fanout_permit all *;
                           fanout_drain $drain; }
            location /fanout { fanout_api app; }
            location = /status { fanout_status app; }";
}


sub status { $nginx->http->get('/status')->json }

sub slots { status()->{zone}{limits}{workers} }

sub old_gone { wait_for(sub { !$nginx->stopping_pids }, 20) }


# Reads all of them until each has ended; returns for each what it heard

sub hear_out {
    my (@clients) = @_;

    my %heard = map { $_ => { closing => [] } } @clients;
    my $end   = time + 30 * $Fanout::Socket::SCALE;

    while (time < $end and my @open = grep { !$heard{$_}{code} } @clients) {

        for my $client (Fanout::WS::ready(0.1, @open)) {
            my $h = $heard{$client};

            while (my $m = $client->recv_message(0)) {
                my $value = Fanout::JSON::decode($m->{payload});

                push @{ $h->{$_->{closing} ? 'closing' : 'other'} }, $_
                    for ref $value eq 'ARRAY' ? @$value : $value;
            }

            $h->{code} = $client->close_code || 1006
                if $client->close_code || $client->eof;
            $h->{at} = time if $h->{code};
        }
    }

    return map { $heard{$_} } @clients;
}


subtest 'again and again under load' => sub {
    my $http = $nginx->http;

    my $first = $http->post('/fanout/channels/old/messages', '"first"')->json;
    my $bytes = join '', map { chr } 0 .. 255;

    $nginx->native(path => '/rt')->ok(publish => channel => 'old',
        enc => 'base64', data => encode_base64($bytes, ''));

    my $swarm = Fanout::Swarm->start($nginx, subs => 300, channels => 8,
        per_sub => 2, pubs => 4, api_pubs => 2, rate => 500, churn => 10,
        duration => 600_000, limit => 700, settle => 30000, retry => 5,
        need_resumed => 1);

    ok($swarm->wait_ready, 'all have joined') or diag($swarm->failure);

    my $most = 0;

    for (1 .. $reloads) {
        my $began = time;

        $nginx->reload;

        my $slots = slots();
        $most = $slots if $slots > $most;

        my $rest = $began + 0.5 - time;
        sleep $rest if $rest > 0;
    }

    ok(old_gone(), 'the old workers are gone');

    $swarm->stop;
    $swarm->check('nothing is lost, nothing comes twice');

    my $r = $swarm->report;

    cmp_ok($r->{close_1012}, '>=', 300, 'all were told to come back');
    cmp_ok($r->{closings}, '>=', $r->{close_1012}, 'each had "closing" before');
    is($r->{not_resumed}, 0, 'all that came back were known');
    cmp_ok($r->{recovered}, '>=', $r->{close_1012}, 'and recovered');

    ok(wait_for(sub { slots() == 2 }), 'two slots are in use');
    diag("$reloads reloads: at most $most slots in use, $r->{close_1012}"
         . " times 1012, delivered live after at most $r->{live_max_ms} ms,"
         . " back after at most $r->{rejoin_max_ms} ms");

    my $h = $http->get('/fanout/channels/old/messages')->json;

    is($h->{messages}[0]{offset}, $first->{offset}, 'history is still there');
    is($h->{messages}[0]{data}, 'first', 'text as it was');
    is($h->{messages}[1]{data}, encode_base64($bytes, ''),
       'and a binary message');
    is($http->post('/fanout/channels/old/messages', '1')->json->{epoch},
       $first->{epoch}, 'in the same epoch');
};


subtest 'closing, then 1012, one after the other' => sub {
    my @clients = map { $nginx->native(path => '/rt') } 1 .. 40;
    my %resume  = map { $_ => $_->resume } @clients;

    $_->ok(join => channel => 'room') for @clients;
    $nginx->reload;

    my $late = $nginx->native(path => '/rt');
    $late->ok(publish => channel => 'room', data => 'meanwhile');

    my @heard = hear_out(@clients);

    is(scalar(grep { @{ $_->{closing} } == 1 } @heard), 40,
       'all are told once');
    is(scalar(grep { $_->{closing}[0]{closing}{code} eq 'drain'
                     && $_->{closing}[0]{closing}{reconnect} } @heard), 40,
       'why, and that they may come back');
    is(scalar(grep { $_->{code} == 1012 } @heard), 40, 'then 1012');

    my @after = sort { $a <=> $b }
                map { $_->{closing}[0]{closing}{after} } @heard;
    my @at    = sort { $a <=> $b } map { $_->{at} } @heard;

    cmp_ok($at[-1] - $at[0], '>', 0.5, 'spread over the drain time');
    is("$after[0] $after[-1]", '0 0', 'which is enough for so few');
    ok(old_gone(), 'the old workers are gone');

    my $back = 0;

    for my $client (@clients) {
        my $again = $nginx->native(path => '/rt', resume => $resume{$client});
        $back++ if $again->welcome->{resumed}
                   && $again->client eq $client->client;
    }

    is($back, 40, 'all come back as who they were');
};


# All at once, or nearly: who does as he is told comes back later.

subtest 'when to come back' => sub {
    for my $drain ('0', '50ms') {
        $nginx->reload(server => server($drain), wait_old => 1);

        my @old     = $nginx->worker_pids;
        my @clients = map { $nginx->native(path => '/rt', worker => $old[0]) }
                          1 .. 400;

        $nginx->reload;

        my @after = sort { $a <=> $b }
                    map { $_->{closing}[0]{closing}{after} // -1 }
                    hear_out(@clients);
        my $most = 400 - ($drain || 0) =~ s/ms//r;
        my %different = map { $_ => 1 } @after;

        cmp_ok($after[0], '>=', 0, "drain $drain: all are told");
        cmp_ok($after[0], '<=', $most / 4, 'some to come back soon');
        cmp_ok($after[-1], '>=', $most / 2, 'some later');
        cmp_ok($after[-1], '<=', $most, 'none later than a thousand a second');
        cmp_ok(scalar keys %different, '>', 20, 'not all at the same moments');
        ok(old_gone(), 'the old workers are gone');
    }

    $nginx->reload(server => server('2s'), wait_old => 1);
};


subtest 'worker_shutdown_timeout' => sub {
    $nginx->reload(server => server('10m'), wait_old => 1,
                   main => 'worker_shutdown_timeout 500ms;');

    my @clients = map { $nginx->native(path => '/rt') } 1 .. 10;
    my @old     = $nginx->worker_pids;

    $nginx->reload;

    ok($nginx->wait_gone(30, @old),
       'ends a drain of ten minutes');
    is(scalar(grep { $_->{code} } hear_out(@clients)), 10,
       'nobody is left on a dead connection');

    $nginx->reload(server => server('2s'), main => '', wait_old => 1);
};


subtest 'more workers than slots' => sub {
    $nginx->reload(http => $http =~ s/64m/16m slots=3/r,
                   server => server('10m'), wait_old => 1);

    my $first = $nginx->native(path => '/rt');
    my $epoch = $first->ok(join => channel => 'room')->{epoch};
    my @old   = $nginx->worker_pids;
    my @held  = map { $nginx->native(path => '/rt', worker => $_) } @old;

    # the old two stay as long as their clients do

    $nginx->reload;
    ok(wait_for(sub { slots() == 3 }), 'a new worker found the last slot');

    my %http   = map { $_ => $nginx->http(worker => $_) } $nginx->worker_pids;
    my %health = map {
        $http{$_}->get('/status?format=health')->{status} => $_
    } keys %http;

    is_deeply([ sort keys %health ], [ 200, 503 ],
              'the one without a slot says that it is not well');

    # it refuses sessions, which may come to the other one, rather than to
    # leave them without messages

    my $refused = $nginx->native(path => '/rt', worker => $health{503},
                                 expect => undef);
    is($refused->status, 503, 'and takes no session');

    my $new = $nginx->native(path => '/rt', worker => $health{200});
    is($new->ok(join => channel => 'room')->{epoch}, $epoch,
       'the other one does');

    for my $pid (sort keys %http) {
        my $r = $http{$pid}->post('/fanout/channels/room/messages',
                                  qq("$pid"));

        is($r->{status}, 201, 'each takes a publish');
        is(eval { $_->next_push->{data} }, $pid, 'which all get')
            for $new, $first;
    }

    $_->cut for @held, $first;
    ok($nginx->wait_gone(20, @old), 'the old workers are gone');
    ok(wait_for(sub { slots() == 2 }), 'and each new one has a slot');

    my $last = $nginx->native(path => '/rt', worker => $health{503});
    $last->ok(join => channel => 'room');
    $http{$health{200}}->post('/fanout/channels/room/messages', '"last"');
    is($_->next_push->{data}, 'last', 'and serves') for $new, $last;
    $_->cut for $new, $last;

    $nginx->reload(http => $http, server => server('2s'), wait_old => 1);
};


subtest 'a configuration that is wrong' => sub {
    my @pids   = $nginx->worker_pids;
    my $client = $nginx->native(path => '/rt');
    my $epoch  = $client->ok(join => channel => 'room')->{epoch};

    my %wrong = (
        'a parameter' => [ qr/\[emerg\].*banana/, http =>
            'fanout_zone app 64m; fanout_channel app * history=banana;' ],
        'a parameter not yet served' => [ qr/\[emerg\].*dedupe/, http =>
            'fanout_zone app 64m; fanout_channel app * dedupe=30s;' ],
        'a zone that is not there' => [ qr/\[emerg\]/, http => '' ],
        'a directive' => [ qr/\[emerg\].*unknown/, server =>
            server('2s') . ' fanout_nonsense on;' ],
    );

    for my $name (sort keys %wrong) {
        my ($regex, @o) = @{ $wrong{$name} };

        ok($nginx->try_reload($regex, @o), "$name is refused");
    }

    is_deeply([ $nginx->worker_pids ], \@pids, 'the workers are the same');
    is_deeply([ $nginx->stopping_pids ], [], 'none is shutting down');

    $nginx->http->post('/fanout/channels/room/messages', '"after"');

    is($client->next_push->{data}, 'after', 'the client is served as before');
    is($client->ok(history => channel => 'room', limit => 1)
           ->{messages}[0]{data}, 'after', 'from the same log');
    is($client->ok(join => channel => 'room')->{epoch}, $epoch,
       'and the same epoch');
};


subtest 'another size of the zone is another zone, and clients know' => sub {
    my $client = $nginx->native(path => '/rt');
    my $join   = $client->ok(join => channel => 'room');

    $nginx->reload(http => $http =~ s/64m/32m/r, wait_old => 1);

    my $again = $nginx->native(path => '/rt', resume => $client->resume);

    ok(!$again->welcome->{resumed}, 'not resumed');

    my $join2 = $again->ok(join => channel => 'room',
        since => { epoch => $join->{epoch}, offset => $join->{offset} });

    ok(defined $join2->{recovered} && !$join2->{recovered}, 'not recovered');
    isnt($join2->{epoch}, $join->{epoch}, 'another epoch');
    is(status()->{zone}{size}, 32 * 1024 * 1024, 'of that size');
};

done_testing();
