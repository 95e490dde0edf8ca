#!/usr/bin/env perl

# The reply to a publish and the publisher's own copy, where a backend is asked.
# If this fails, a client that shows what it has sent, and marks it as sent by
# the reply, shows it twice, or never.

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
        fanout_budget off;
        fanout_rate   off;

        upstream hooks {
            server 127.0.0.1:@{[ $backend->port ]};
            keepalive 8;
        }

        fanout_deflate_min_length 1;

        fanout_zone app 16m;
        fanout_channel app kept:* history=100;
        fanout_channel app off:* hooks=off;
        fanout_channel app *;
END
    server => <<'END',
        fanout_user $http_x_user;
        fanout_permit all *;
        fanout_hook app /hooks/app publish timeout=20s;

        location /realtime { fanout app; }
        location /small { fanout app; fanout_buffer 1k; }
        location /api/ { fanout_api app; }
        location /deflate {
            fanout app; fanout_deflate on;
        }
        location /hooks/ {
            internal;
            proxy_pass http://hooks;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
END
);

my ($one, $two) = $nginx->worker_pids;

sub client {
    my (%o) = @_;

    return $nginx->native(worker => $one, headers => { 'X-User' => 'ann' },
                          %o);
}

# What comes, in order: "3" for a reply, "=x" for a message, "gap" for one.

sub words {
    my ($frame) = @_;

    return '[' . join(' ', map { words($_) } @$frame) . ']'
        if ref $frame eq 'ARRAY';

    return $frame->{id} . ($frame->{error} ? $frame->{error}{code} : '')
        if exists $frame->{id};

    return exists $frame->{data} ? "=$frame->{data}" : 'gap'
        if exists $frame->{channel};

    return 'other';
}

sub frames {
    my ($ws, $n) = @_;

    return join ' ', map {
        my $text = $ws->recv_text(10);
        defined $text ? words(Fanout::JSON::decode($text)) : 'nothing'
    } 1 .. $n;
}

sub sends {
    my ($ws, @commands) = @_;

    $ws->send_json(@commands > 1 ? \@commands : $commands[0]);
}

sub publish {
    my ($id, $channel, $data, %more) = @_;

    return { id => $id, op => 'publish', channel => $channel, data => $data,
             %more };
}


for my $path ('/realtime', '/deflate') {
    my $ws = client(path => $path, deflate => $path eq '/deflate');
    my $n  = 0;

    for my $channel ('kept:a', 'none') {
        $ws->ok('join', channel => $channel);

        for my $i (1 .. 10) {
            $n++;
            sends($ws, publish("p$n", $channel, "m$n"));
            is(frames($ws, 2), "p$n =m$n", "$path $channel $i");
        }

        sends($ws, publish("q$_", $channel, "n$_")) for 1 .. 8;
        is(frames($ws, 16), join(' ', map { "q$_ =n$_" } 1 .. 8),
           "$path $channel, sent at once");

        sends($ws, publish('many', $channel, { change => [
            { data => 'x' }, { data => 'y' } ] }));
        is(frames($ws, 3), 'many =x =y', "$path $channel, changed");

        sends($ws, publish('to', $channel, 'me', to => { user => 'ann' }));
        is(frames($ws, 2), 'to =me', "$path $channel, to oneself");

        sends($ws, publish('off', 'off:x', 1));
        sends($ws, publish('no', $channel, { deny => {} }));
        is(frames($ws, 2), 'off norefused', "$path $channel, refused");

        sends($ws, publish('a', $channel, 1), publish('b', $channel, 2),
              publish('c', $channel, 3, store => Fanout::JSON::false));
        is(frames($ws, 4), '[a b c] =1 =2 =3', "$path $channel, an array");

        sends($ws, publish('d', $channel, 4),
              { id => 'm', op => 'members', channel => $channel },
              publish('e', $channel, 5), { id => 'g', op => 'ping' });
        is(frames($ws, 2), '[d mforbidden e g] =4', "$path $channel, mixed");
        is(frames($ws, 1), '=5', 'the last');

        $ws->ok('leave', channel => $channel);

        sends($ws, { id => 'j', op => 'join', channel => $channel },
              publish('f', $channel, 6), publish('g', $channel, 7));
        is(frames($ws, 3), '[j f g] =6 =7', "$path $channel, joined");
        $ws->ok('leave', channel => $channel);
    }

    $ws->disconnect;
}


# What others say while an array waits for the backend is told behind the
# replies, as much of it as fanout_buffer allows.

{
    my $ws    = client();
    my $small = client(path => '/small');
    my $http  = $nginx->http;

    $_->ok('join', channel => 'none') for $ws, $small;

    $backend->does(wait => 'others', answer => 1);
    $backend->forget;

    sends($_, { id => 'j', op => 'join', channel => 'more' },
          publish('a', 'quiet', 0), { id => 'p', op => 'ping' })
        for $ws, $small;

    $backend->wait_calls(1);

    for my $n (1 .. 20) {
        $http->post('/api/channels/none/messages', qq("x$n"));
        $http->post('/api/channels/more/messages', qq("y$n"));
    }
    $http->post('/api/channels/none/messages?to=user:ann', '"mine"');

    $backend->let('others');

    is(frames($ws, 42),
       '[j a p] ' . join(' ', map { "=x$_ =y$_" } 1 .. 20) . ' =mine',
       'what others have said meanwhile');

    like(frames($small, 4), qr/^\[j a p\] =x1 =y1 /, 'as far as there is room');
    ok($small->next_where(sub { $_[0]{gap} }), 'and a gap for the rest');

    # one that is closed meanwhile

    $backend->forget;
    sends($ws, publish('a', 'quiet', 0), { id => 'p', op => 'ping' });
    $backend->wait_calls(1);
    $http->post('/api/channels/none/messages', '"late"');
    $http->delete('/api/clients/' . $ws->client);
    is($ws->wait_close, 4403, 'closed meanwhile');

    $backend->let('others');
    $backend->does;

    $ws = client();
    $ws->ok('join', channel => 'none');
    sends($ws, publish('z', 'none', 'z'));
    is(frames($ws, 2), 'z =z', 'the worker goes on');
    $ws->disconnect;
}

is($nginx->worker_pids, 2, 'workers live');
