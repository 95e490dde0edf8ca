#!/usr/bin/env perl

# Who may have how many publishes waiting for a hook. If this fails, one client
# with many sessions takes all the places, and publishes of others fail; or it
# is told that the backend failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::Nginx;


my $backend = Fanout::HookBackend->start;

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        upstream hooks {
            server 127.0.0.1:@{[ $backend->port ]};
        }

        set_real_ip_from 127.0.0.1;
        real_ip_header   X-Real-IP;

        fanout_zone app 16m;
        fanout_zone small 4m;
        fanout_channel app * history=100;
END
    server => <<'END',
        fanout_user $http_x_user;
        fanout_permit all *;

        fanout_hook app /hooks/app publish timeout=60s queue=40;
        fanout_hook small /hooks/small publish timeout=60s queue=8;

        location /rt { fanout app; }
        location /raw { fanout app; fanout_dialect raw; }
        location /small { fanout small; }
        location /off { fanout app; fanout_budget off; }
        location /users {
            fanout app; fanout_budget address off;
        }
        location = /status { fanout_status app; }
        location = /status/small { fanout_status small; }
        location /hooks/ { internal; proxy_pass http://hooks; }
END
);

my ($one) = $nginx->worker_pids;
my $http  = $nginx->http;
my $wait  = 0;

sub from {
    my ($address, $user) = @_;

    return { 'X-Real-IP' => $address, $user ? ('X-User' => $user) : () };
}

sub client {
    my ($path, @from) = @_;

    return $nginx->native(worker => $one, path => $path,
                          headers => from(@from));
}

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

sub counters {
    my ($app, $small) = map {
        Fanout::JSON::decode($http->get("/status$_")->{body})->{counters}
    } '', '/small';

    return { map { $_ => $app->{$_} + $small->{$_} } keys %$app };
}

sub post {
    my ($address) = @_;

    my $r = $nginx->http(worker => $one)->post('/rt',
        '{"id":1,"op":"publish","channel":"p","data":1}',
        headers => { %{ from($address) },
                     'Content-Type' => 'application/json' });

    $r->{json} = Fanout::JSON::decode($r->{body});

    return $r;
}

# The backend says nothing while the sub runs, then lets through all that waits.

sub while_it_waits {
    my ($sub) = @_;

    $wait++;
    $backend->forget;
    $backend->does(wait => "wait$wait", answer => 1);
    $sub->();
    $backend->let("wait$wait");
    $backend->does;
}

# A publish by a session of its own, once the server has seen it: the session,
# and the id of the command.

sub publish {
    my (@client) = @_;

    my $seen = sub {
        my $c = counters();

        return $c->{hook_asks} + $c->{rate_limited} + $c->{hook_failures};
    };

    my $was = $seen->();
    my $ws  = client(@client);
    my $id  = $ws->send_cmd('publish', channel => 'flood', data => 1);

    wait_for(sub { $seen->() > $was }, 20) or die 'a publish was not seen';

    return [ $ws, $id ];
}

# The error of one that is refused, and so does not wait.

sub error {
    my ($publish) = @_;
    my ($ws, $id) = @$publish;

    my $reply = $ws->reply($id, 10);
    $ws->disconnect;

    return $reply->{error};
}

sub all_answered {
    my ($name, @waiting) = @_;

    is_deeply([ map { code($_->[0]->reply($_->[1], 20)) } @waiting ],
              [ ('ok') x @waiting ], $name);
    $_->[0]->disconnect for @waiting;
}

sub error_of {
    my ($of) = @_;

    return {
        code    => 'rate_limited',
        message => 'too many publishes of a' . ($of eq 'user' ? '' : 'n')
                   . " $of wait for the backend: fanout_hook queue=",
        data    => { retry_after => 1000, limit => 'publishes', of => $of },
    };
}


subtest 'an address' => sub {
    for my $round (1, 2) {
        my @waiting;

        while_it_waits(sub {
            @waiting = map { publish('/rt', '192.0.2.1') } 1 .. 10;

            is_deeply(error(publish('/rt', '192.0.2.1')), error_of('address'),
                      'more than a quarter of the queue');

            my $r = post('192.0.2.1');

            is($r->{status}, 429, 'POST');
            is($r->{headers}{'retry-after'}, 1, 'when to come back');
            is_deeply($r->{json}{error}, error_of('address'), 'why');

            my $raw = $nginx->ws(worker => $one, path => '/raw?channel=r',
                                 headers => from('192.0.2.1'));

            $raw->send_text('x');
            is($raw->wait_close(10), 4429, 'raw');
            is($raw->close_reason, error_of('address')->{message}, 'why');

            # others have a share of what is left

            push @waiting, map { publish('/rt', '192.0.2.2') } 1 .. 8;
            is_deeply(error(publish('/rt', '192.0.2.2')), error_of('address'),
                      'a second address has less, but always 8');

            push @waiting, map { publish('/rt', "192.0.2.$_", "u$_") } 3 .. 24;
            is(error(publish('/rt', '192.0.2.25'))->{code}, 'hook_failed',
               'the queue is full');
        });

        all_answered('those that waited are published', @waiting);
    }
};


subtest 'a user' => sub {
    my @waiting;

    while_it_waits(sub {
        @waiting = map { publish('/rt', "198.51.100.$_", 'bob') } 1 .. 10;

        is_deeply(error(publish('/rt', '198.51.100.11', 'bob')),
                  error_of('user'), 'of many addresses');
        push @waiting, publish('/rt', '198.51.100.11', 'carl');
    });

    all_answered('and others', @waiting);
};


# sessions without a user are easily had

subtest 'users of an address' => sub {
    my @waiting;

    while_it_waits(sub {
        @waiting = map { publish('/rt', '192.0.2.1') } 1 .. 10;
        push @waiting, map { publish('/rt', '192.0.2.1', "u$_") } 1 .. 14;

        is_deeply(error(publish('/rt', '192.0.2.1', 'u15')),
                  error_of('address'), 'more than are left for others');
        push @waiting, publish('/rt', '192.0.2.2', 'u15');
    });

    all_answered('they are not shut out by those without', @waiting);
};


subtest 'who has left' => sub {
    my @waiting;

    while_it_waits(sub {
        $_->[0]->cut for map { publish('/rt', '192.0.2.1') } 1 .. 10;

        is_deeply(error(publish('/rt', '192.0.2.1')), error_of('address'),
                  'what it published still waits');
    });

    ok(wait_for(sub { counters()->{published} >= 40 + 40 + 11 + 25 + 10 }, 20),
       'until the backend has answered');
    all_answered('and may come again', publish('/rt', '192.0.2.1'));
};


subtest 'without shares' => sub {
    my @waiting;

    while_it_waits(sub {
        @waiting = map { publish('/users', '192.0.2.1', "u$_") } 1 .. 20;
        push @waiting, map { publish('/off', '192.0.2.1', 'dora') } 1 .. 20;

        is(error(publish('/off', '192.0.2.1', 'dora'))->{code}, 'hook_failed',
           'only the queue ends');
    });

    all_answered('fanout_budget off', @waiting);

    while_it_waits(sub {
        @waiting = map { publish('/small', '192.0.2.1') } 1 .. 8;
        push @waiting, publish('/rt', '192.0.2.1');
    });

    all_answered('a small queue, and each zone for itself', @waiting);
};


subtest 'the status' => sub {
    my $c = counters();

    is($c->{limited_publishes}, 11, 'refusals are counted');
    is($c->{limited_user}, 1, 'those of users');
    is($c->{limited_address}, 10, 'those of addresses');
};
