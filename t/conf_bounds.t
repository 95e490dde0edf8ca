#!/usr/bin/env perl

# Bounds of all numbers, sizes and times of the configuration. If this fails, a
# value out of its bounds is taken and does harm later, one that the documentation
# allows is refused, or the message names something else than the mistake.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;

use File::Temp;
use Test::More;

my $dir  = File::Temp->newdir('fanout-XXXXXX', TMPDIR => 1);
my $load = length Fanout::Nginx::module({})
           ? 'load_module ' . Fanout::Nginx::module({}) . ';' : '';


sub check {
    my ($http, $server) = @_;

    open my $f, '>', "$dir/test.conf" or die "test.conf: $!";
    print $f "$load\npid $dir/pid; events { }\n"
             . "http { access_log off; fanout_zone app 8m; $http\n"
             . "server { $server } }\n";
    close $f;

    my $said = qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/log 2>&1};

    return ($? >> 8, $said);
}


# below the minimum, the minimum, the maximum and above it; "-" where there is
# none. Then what is said.

my @directives = (
    [ fanout_batch                => '0 1 64 65',           'a number from 1 to 64' ],
    [ fanout_broadcast_size       => '0 1 16383k 16m',      'a size of at least 1 and less than 16m' ],
    [ fanout_buffer               => '0 1 1024m 1025m',     'a size from 1 to 1024m' ],
    [ fanout_channels_per_session => '0 1 1000000 1000001', 'a number from 1 to 1000000' ],
    [ fanout_deflate_level        => '0 1 9 10',            'a number from 1 to 9' ],
    [ fanout_deflate_min_length   => '0 1 1024m 1025m',     'a size from 1 to 1024m' ],
    [ fanout_deflate_ratio        => '-1 0 1032 1033',      'a number from 0 to 1032' ],
    [ fanout_deflate_window       => '8 9 15 16',           'a number from 9 to 15' ],
    [ fanout_drain                => '-1 0 1d 25h',         'a time from 0 to 1d' ],
    [ fanout_history              => '0 1 1000000 1000001', 'a number from 1 to 1000000' ],
    [ fanout_message_size         => '0 1 16383k 16m',      'a size of at least 1 and less than 16m' ],
    [ fanout_ping                 => '-1 0 1d 25h',         'a time from 0 to 1d' ],
    [ fanout_poll_timeout         => '0 1ms 1d 25h',        'a time from 1ms to 1d' ],
    [ fanout_presence_size        => '0 1 8k 9k',           'a size from 1 to 8k' ],
    [ fanout_resume               => '-1 0 30d 31d',        'a time from 0 to 30d' ],
    [ fanout_session_max          => '-1 0 30d 31d',        'a time from 0 to 30d' ],
    [ fanout_expiring             => '-1 0 1d 25h',         'a time from 0 to 1d' ],
    [ fanout_retry                => '0 1ms 1d 25h',        'a time from 1ms to 1d' ],
    [ fanout_send_timeout         => '0 1ms 1d 25h',        'a time from 1ms to 1d' ],
    [ fanout_sessions             => '-1 0 1000000 1000001', 'a number from 0 to 1000000' ],
    [ fanout_sessions_per_address => '0 1 1000000 1000001', 'a number from 1 to 1000000' ],
    [ fanout_sessions_per_user    => '0 1 1000000 1000001', 'a number from 1 to 1000000' ],
    [ fanout_timeout              => '0 1ms 1d 25h',        'a time from 1ms to 1d' ],
    [ fanout_rate                 => '0r/s 1r/s 1000000r/s 1000001r/s',
                                                            'N from 1 to 1000000' ],
);

# what is before the parameter, and the parameter

my @parameters = (
    [ 'fanout_zone z 8m', slots  => '0 1 64 65',             'a number from 1 to 64' ],
    [ 'fanout_zone z 8m', held   => '0% 1% 90% 91%',         'a percentage from 1% to 90%' ],
    [ 'fanout_zone z 8m', idle   => '0 1s 365d 366d',        'a time from 1s to 365d' ],
    [ 'fanout_zone z 8m', dedupe => '0 1s 365d 366d',        'a time from 1s to 365d' ],
    [ 'fanout_zone z 8m', denials => '0 1 1000000 1000001',
                                                             'a number from 1 to 1000000' ],
    [ 'fanout_zone z 8m', frames => '1023k 1m 65536m -',        'a size of 1m or more' ],
    [ 'fanout_zone z 8m', address => '0% 1% 100% 101%',      'a percentage from 1% to 100%' ],
    [ 'fanout_zone z 8m', user => '0% 1% 100% 101%',         'a percentage from 1% to 100%' ],
    [ 'fanout_zone z 8m keys=0%-1% channels=0%-1% members=0%-1% sessions=0%-1%'
      . ' mail=0%-1% signals=0%-1% events=0%-1%',
      history => '0% 1% 90% 91%',                            'a percentage from 1% to 90%' ],
    (map { [ "fanout_zone z 8m", $_ => '0%-0% 0%-1% 1%-100% 1%-101%',
             'within 0% and 100%, the second at least 1%' ] }
         qw( channels keys members sessions mail signals events )),

    [ 'fanout_zone z 8m', records => '0% 1% 90% 91%',        'a percentage from 1% to 90%' ],
    [ 'fanout_zone z 8m', records => '0%-0% 0%-1% 1%-100% 1%-101%',
             'within 0% and 100%, the second at least 1%' ],
    (map { [ 'fanout_channel app a records=on', @$_ ] }
         [ record      => '0 1 64k 65537',                   'a size from 1 to 64k' ],
         [ fields      => '0 1 128 129',                     'a number from 1 to 128' ],
         [ records_max => '0 1 10000000 10000001',           'a number from 1 to 10000000' ],
         [ records_ttl => '0 1s 365d 366d',                  'a time from 1s to 365d' ]),

    [ 'fanout_channel app a', locks => '999ms 1s 24h 25h',   '"off" or a time from 1s to 24h' ],
    [ 'fanout_channel app a locks=1m', locks_max => '0 1 1000000 1000001',
                                                             'a number from 1 to 1000000' ],

    [ 'fanout_channel app a', history => '-1 0 10000000 10000001',
                                                             'a number from 0 to 10000000' ],
    [ 'fanout_channel app a history=1', bytes => '0 1 4095m 4096m',
                                                             'a size from 1 to 4095m' ],
    [ 'fanout_channel app a history=1', ttl => '0 1s 365d 366d',
                                                             'a time from 1s to 365d' ],
    [ 'fanout_channel app a', share => '0%-0% 0%-1% 1%-100% 1%-101%',
                                                             'within 0% and 100%' ],
    [ 'fanout_channel app a', linger => '-1 0 1h 61m',
                                                             'whole seconds from 0 to 1h' ],
    (map { [ 'fanout_channel app a presence=on', @$_ ] }
         [ members => '0 1 10000000 10000001',               'a number from 1 to 10000000' ],
         [ keys    => '0 1 128 129',                         'a number from 1 to 128' ],
         [ batch   => '-1 0 10s 10001ms',                    'a time from 0 to 10s' ],
         [ changes => '-1 0 1024m 1025m',                    'a size from 0 to 1024m' ],
         [ idle    => '99ms 100ms 24h 25h',                  'a time from 100ms to 24h' ],
         [ expire  => '99ms 100ms 24h 25h',                  'a time from 100ms to 24h' ],
         [ seen    => '0 1m 30d 31d',                        'whole minutes from 1m to 30d' ]),
);

my @location = (
    [ 'fanout_rate 1r/s', burst => '0 1 1000000 1000001',    'N from 1 to 1000000' ],
    (map { my $scope = $_;
           map { [ "fanout_budget $scope", @$_ ] }
               [ bytes    => '1023/s 1k/s 1000000000/s 1000000001/s',
                                                             'from 1k to 1000000000' ],
               [ answers  => '1023/s 1k/s 1000000000/s 1000000001/s',
                                                             'from 1k to 1000000000' ],
               [ channels => '0/s 1/s 1000000/s 1000001/s',  'from 1 to 1000000' ],
               [ burst    => '0 1ms 1h 61m',                 'a time from 1ms to 1h' ],
               $scope eq 'session' ? () : (
               [ commands => '0/s 1/s 1000000/s 1000001/s',  'from 1 to 1000000' ],
               [ sessions => '0/s 1/s 1000000/s 1000001/s',  'from 1 to 1000000' ]) }
         qw( session user address )),
    (map { [ 'fanout_jwt secret=0123456789abcdef', @$_ ] }
         [ leeway => '-1 0 1h 61m',                          'whole seconds from 0 to 1h' ],
         [ size   => '63 64 64k 65k',                        'a size from 64 to 64k' ],
         [ handshake => '-1 0 64k 65k',                      'a size from 0 to 64k' ]),
    [ 'fanout_jwt secret=0123456789abcdef from=command',
      wait => '99ms 100ms 1h 61m',                           'a time from 100ms to 1h' ],
    (map { [ 'fanout_authorize /h join', @$_ ] }
         [ timeout => '0 1ms 1h 61m',                        'a time from 1ms to 1h' ],
         [ cache   => '-1 0 1d 25h',                         'a time from 0 to 1d' ],
         [ calls   => '0 1 1000 1001',                       'from 1 to 1000' ],
         [ queue   => '0 1 1000000 1000001',                 'from 1 to 1000000' ],
         [ answers => '0 1 1000000 1000001',                 'from 1 to 1000000' ],
         [ headers => '255 256 64k 65k',                     'a size from 256 to 64k' ]),
    [ 'fanout_log x', buffer => '0 1 64m 65m',               'a size from 1 to 64m' ],
    [ 'fanout_log x buffer=1k', flush => '0 1ms 1d 25h',     'a time from 1ms to 1d' ],
);

my @hook = (
    [ batch   => '0 1 64 65',            'from 1 to 64' ],
    [ calls   => '0 1 64 65',            'from 1 to 64' ],
    [ queue   => '0 1 1000 1000001',     'from 1 to 1000000' ],
    [ timeout => '0 1ms 1h 61m',         'from 1ms to 1h' ],
    [ limit   => '0 1 64m 65m',          'from 1 to 64m' ],
);


sub bounds {
    my ($where, $what, $values, $needed) = @_;

    my ($below, $min, $max, $above) = split ' ', $values;

    for my $value ($min, $max) {
        my $line = sprintf $what, $value;
        my ($status, $said) = check($where->($line));
        is($status, 0, "$line is within") or diag($said);
    }

    for my $value (grep { $_ ne '-' } $below, $above) {
        my $line = sprintf $what, $value;
        my ($status, $said) = check($where->($line));

        ok($status, "$line is not");
        like($said, qr/\[emerg\] .*\Q$value\E.*\Q$needed\E/, 'and says why');
    }
}

my $http     = sub { ($_[0], '') };
my $server   = sub { ('', $_[0]) };
my $location = sub { ('', "location /x { fanout app; fanout_permit all *; $_[0] }") };

subtest 'directives' => sub {
    bounds($http, "$_->[0] %s;", @{$_}[1, 2]) for @directives;
};

subtest 'parameters' => sub {
    my $percent = sub { my ($s) = @_; $s =~ s/%/%%/g; $s };

    bounds($http, $percent->($_->[0]) . " $_->[1]=%s;", @{$_}[2, 3])
        for @parameters;
    bounds($location, "$_->[0] $_->[1]=%s;", @{$_}[2, 3]) for @location;
    bounds($server, "fanout_hook app /h publish $_->[0]=%s;", @{$_}[1, 2])
        for @hook;
    bounds($server, 'fanout_hook app /h join retry=%s;', '0 1ms 1h 61m',
           'from 1ms to 1h');
};


# each that the documentation knows is above

subtest 'all of them' => sub {
    open my $f, '<', "$FindBin::Bin/../docs/directives.md" or die $!;
    my $docs = do { local $/; readline $f };

    my %known = map { $_->[0] => 1 } @directives;
    $known{(split ' ', $_->[0])[0] . " $_->[1]"} = 1 for @parameters, @location;
    $known{"fanout_hook $_"} = 1 for 'retry', map { $_->[0] } @hook;

    my $n = 0;

    for my $syntax ($docs =~ /^\| Syntax \| `(.*?);` \|$/mg) {
        my ($name) = $syntax =~ /^(\w+)/;
        my $unit = qr/(?:number|size|time|percent|range|rate|level|bits)\b/;

        ok($known{$name}, "$name"), $n++
            if $syntax =~ /^$name $unit/;
        ok($known{"$name $_"}, "$_= of $name"), $n++
            for $syntax =~ /(\w+)=$unit/g;
    }

    cmp_ok($n, '>', 50, 'they were found');
};

done_testing();
