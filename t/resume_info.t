#!/usr/bin/env perl

# fanout_user_info when a session is resumed. If this fails, others see a name or
# a role that a client has no more, for as long as it does not start anew; or
# are told again and again what they know.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app room:* presence=on linger=60s history=10;
        fanout_channel app sum:*  presence=summary linger=60s;
END
    server => <<'END',
        fanout_permit all *;
        fanout_user $arg_user;
        fanout_resume 60s;
        location /rt { fanout app; fanout_user_info name=$arg_name; }
        location /api { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;

sub client {
    my ($transport, $user, $name, @joins) = @_;

    return Fanout::Client->open($nginx, $transport, '/rt', user => $user,
        query => "name=$name", session => 1, worker => $one,
        joins => \@joins);
}

sub names {
    my ($client, $room) = @_;

    return join ' ', sort map {
        ($_->{user} // 'nobody') . '=' . ($_->{info} ? $_->{info}{name} // ''
                                                     : '-')
    } $client->members($room);
}

sub sees {
    my ($client, $room, $expected, $name) = @_;
    my $got;

    for (1 .. 100) {
        $got = names($client, $room);
        last if $got eq $expected;
        $client->next_entry(0.2);
    }

    is($got, $expected, $name);
}

# changes that were told since the last time, up to a message of now

sub told {
    my ($client, $room) = @_;

    $nginx->http->post("/api/channels/$room/messages", '"now"');
    $client->next_message;

    return join ' ', map {
        my $p = $_;
        map { "$_:" . @{ $p->{$_} } } sort keys %$p
    } splice @{ $client->{presences} };
}


for my $transport (Fanout::Client->transports) {
    my $room  = "room:$transport";
    my $other = "room:other:$transport";
    my $bob   = client(websocket => 'bob', 'B',
                       { channel => $room, presence => {} },
                       { channel => $other });
    my $ann   = client($transport, 'ann', 'Ann',
                       { channel => $room, presence => { x => 1 } },
                       { channel => $other, presence => {},
                         anonymous => Fanout::JSON::true },
                       { channel => "sum:$transport", presence => {} });

    sees($bob, $room, 'ann=Ann bob=B', "$transport: at first");
    sees($bob, $other, 'nobody=-', 'without a name');

    told($bob, $room);
    told($bob, $other);

    # with the same

    $ann->cut;
    $ann->come_back(worker => $two);
    ok($ann->resumed, "$transport: resumed") if $transport ne 'poll';
    is(told($bob, $room), '', 'with the same profile: nothing is told');

    # with another

    $ann->cut;
    $ann->{o}{query} = 'name=Anna';
    $ann->come_back(worker => $one);

    sees($bob, $room, 'ann=Anna bob=B', 'with another: it is told');
    like(told($bob, $room), qr/^(updated:1)?$/, 'as an update');
    sees($ann, $room, 'ann=Anna bob=B', 'and told to itself');
    is(told($bob, $other), '', 'the member without a name is not');

    my $eve = client(websocket => 'eve', 'E', { channel => $room });
    sees($eve, $room, 'ann=Anna bob=B', 'who comes later sees it');

    my $info = $nginx->http->get('/api/clients/' . $ann->client)->json;
    is($info->{info}{name}, 'Anna', 'and the API');

    # with the same, again

    $ann->cut;
    $ann->come_back(worker => $two);
    is(told($bob, $room), '', 'once');

    $_->cut for $ann, $bob, $eve;
}
